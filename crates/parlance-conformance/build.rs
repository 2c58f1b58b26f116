//! Puts every vector of `tests/conformance` into the library, so that the binary carries them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let vectors = here.join("../../tests/conformance").canonicalize()?;
    let mut cargo = io::stdout().lock();
    writeln!(cargo, "cargo:rerun-if-changed={}", vectors.display())?;
    let mut list = String::from("&[\n");
    for folder in sorted(&vectors)?.iter().filter(|path| path.is_dir()) {
        writeln!(cargo, "cargo:rerun-if-changed={}", folder.display())?;
        for file in sorted(folder)?.iter().filter(|path| path.extension() == Some("toml".as_ref()))
        {
            let name = file.strip_prefix(&vectors).map_err(io::Error::other)?;
            let (name, path) = (name.display().to_string(), file.display().to_string());
            let _ = writeln!(list, "    ({name:?}, include_str!({path:?})),");
        }
    }
    list.push(']');
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("vectors.rs"), list)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
