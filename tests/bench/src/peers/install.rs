//! Installs the dependencies of the peers below `target/bench-peers`, in the versions that their lock files pin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::machine;

/// The folders.
#[derive(Debug)]
pub(crate) struct InstalledPeers {
    /// The folder with the peers' programs and lock files.
    source: PathBuf,
    target: PathBuf,
}

impl InstalledPeers {
    /// Installs each peer that is missing or was installed from another lock file.
    pub(crate) fn install() -> Result<Self> {
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(2).context("this program is not below a target folder")?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").canonicalize()?;
        let all = Self { source, target: target.join("bench-peers") };
        all.unless_installed("knox", "requirements.txt", |folder| {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
            let mut pip = Command::new(folder.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
            run(pip.arg(all.source.join("knox/requirements.txt")))
        })?;
        all.unless_installed("node", "package-lock.json", |folder| {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(all.source.join("node").join(file), folder.join(file))?;
            }
            let npm = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
            run(Command::new("npm").args(npm).current_dir(folder))
        })?;
        // The programs find their imports in their own folder.
        for file in ["peer.js", "better-auth.js", "oidc-provider.js"] {
            fs::copy(all.source.join("node").join(file), all.target.join("node").join(file))?;
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
        cargo.arg(all.source.join("actix-session/Cargo.toml"));
        run(cargo.arg("--target-dir").arg(all.target.join("actix-session")))?;
        Ok(all)
    }

    /// Installs by a lock file, unless done already.
    fn unless_installed(
        &self,
        name: &str,
        lock: &str,
        install: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let folder = self.target.join(name);
        let (done, wanted) =
            (folder.join("installed"), fs::read(self.source.join(name).join(lock))?);
        if fs::read(&done).is_ok_and(|done| done == wanted) {
            return Ok(());
        }
        println!("installing the packages of tests/bench/peers/{name}/{lock}");
        fs::create_dir_all(&folder)?;
        install(&folder)?;
        Ok(fs::write(done, wanted)?)
    }

    /// The command of gunicorn with the guarded view.
    pub(crate) fn knox(&self) -> Command {
        let source = self.source.join("knox");
        let mut command = Command::new(self.target.join("knox/bin/gunicorn"));
        command.arg("--config").arg(source.join("gunicorn.conf.py")).arg("app:application");
        command.env("PYTHONPATH", source).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The command of one of the two programs for node.
    pub(crate) fn node(&self, program: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.target.join("node").join(program)).env("NODE_ENV", "production");
        command
    }

    /// The command of the program in Rust.
    pub(crate) fn actix_session(&self) -> Command {
        Command::new(self.target.join("actix-session/release/peer-actix-session"))
    }

    /// The versions that the lock files do not pin.
    pub(crate) fn versions(&self) -> String {
        let python = machine::command_output(self.target.join("knox/bin/python"), &["--version"]);
        let node = machine::command_output("node", &["--version"]);
        let redis = machine::command_output("redis-server", &["--version"]);
        let redis = redis.split_whitespace().find_map(|word| word.strip_prefix("v="));
        format!("{python}, node {node}, Redis {}", redis.unwrap_or(machine::UNKNOWN))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.status().with_context(|| format!("cannot run {name}"))?;
    if done.success() { Ok(()) } else { bail!("{name} failed: {done}") }
}
