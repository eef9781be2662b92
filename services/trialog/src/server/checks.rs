//! What a server needs of its machine: room, a clock, its port, a Python for jobs, a program that is the installed one.
//! Each check says what it found and, where that will not do, what to do about it.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use serde::Serialize;
use vocabulary::Clock;

use super::settings::Settings;
use super::{disk, tls};

/// Below this a disk fills within days of ordinary work: a small sweep's logs and checkpoints.
const FREE_BYTES_ENOUGH: u64 = 2 << 30;
/// A clock that shows less was never set.
const EARLIEST: &str = "2026-01-01T00:00:00Z";
/// So far back a clock may jump without being told: servers bridge that.
const JUMP_SECONDS: i64 = 60;
/// What environments of jobs are made with.
const PYTHON: [&str; 3] = ["python3", "-c", "import sys, venv, ensurepip; print(sys.version.split()[0])"];

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// A server works, but not all that it offers, or not for long.
    Note,
    /// A server does not work.
    Wrong,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, and what to do.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { name, state, detail: detail.into() }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Wrong => "wrong",
        };
        write!(f, "{state}: {}: {}", self.name, self.detail)
    }
}

/// All checks of a data folder's machine; `server` is the process that runs on it, if one does.
pub fn all(root: &Path, settings: &Settings, server: Option<i32>) -> Vec<Check> {
    let shown = std::fs::read_to_string(root.join("run/clock")).unwrap_or_default();
    let mut checks = vec![
        version(server),
        room(disk::room(existing(root)), settings.disk.free_bytes_min, root),
        clock(runtime::MachineClock.now(), &shown),
        port(&settings.http.listen, server.is_some()),
        python(&PYTHON),
    ];
    if let Some(wrong) = tls::of(&settings.http).err().or_else(|| tls::ca_file(&settings.http).err()) {
        checks.push(Check::new("certificate", State::Wrong, format!("{wrong:#}")));
    }
    checks
}

/// The nearest folder above that is there: where the data folder will be.
fn existing(root: &Path) -> &Path {
    root.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."))
}

fn version(server: Option<i32>) -> Check {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let own = format!("trialog {}, kernel {}", env!("CARGO_PKG_VERSION"), kernel.trim());
    let program = server.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    match program {
        Some(path) if path.to_string_lossy().ends_with(" (deleted)") => {
            let detail = format!(
                "{own}; the server runs a program that was replaced since it has started: end it and start it again, \
                 its nodes and jobs go on"
            );
            Check::new("versions", State::Note, detail)
        }
        _ => Check::new("versions", State::Ok, own),
    }
}

fn room(found: io::Result<disk::Room>, least: u64, root: &Path) -> Check {
    let of = |state, detail: String| Check::new("disk", state, detail);
    let shown = root.display();
    match found {
        Err(error) => of(State::Wrong, format!("the disk of {shown} cannot be asked: {error}; mount it")),
        Ok(room) if room.free_bytes < least => of(
            State::Wrong,
            format!(
                "{} bytes are left on the disk of {shown}, {least} are needed (disk.free_bytes_min): a server is not \
                 ready; delete what is not needed, trialog sweep delete --runs, or move the folder to a larger disk",
                room.free_bytes
            ),
        ),
        Ok(room) if room.free_bytes < FREE_BYTES_ENOUGH.max(least) => {
            let detail = format!("only {} bytes are left on the disk of {shown}: make room soon", room.free_bytes);
            of(State::Note, detail)
        }
        Ok(room) => of(State::Ok, format!("{} of {} bytes are free", room.free_bytes, room.size_bytes)),
    }
}

/// `shown` is what the last server has noted of its time: boot, monotonic microseconds, microseconds since 1970.
fn clock(now: Timestamp, shown: &str) -> Check {
    let earliest: Timestamp = EARLIEST.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let last = shown.split_whitespace().nth(2).and_then(|us| us.parse().ok());
    let last = last.and_then(|us| Timestamp::from_microsecond(us).ok());
    let set = "set it, with an NTP service: timedatectl set-ntp true";
    match last {
        _ if now < earliest => {
            Check::new("clock", State::Wrong, format!("it shows {now}: {set}; times and expiries would be wrong"))
        }
        Some(last) if now.as_second() + JUMP_SECONDS < last.as_second() => {
            let detail = format!("it shows {now}, and a server has noted {last} before: it was set back; {set}");
            Check::new("clock", State::Note, detail)
        }
        _ => Check::new("clock", State::Ok, format!("it shows {now}")),
    }
}

fn port(listen: &str, is_served: bool) -> Check {
    let of = |state, detail: String| Check::new("ports", state, detail);
    if is_served {
        return of(State::Ok, "the server of this folder has its own".to_owned());
    }
    let addresses: Vec<SocketAddr> = match listen.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return of(State::Wrong, format!("http.listen {listen:?}: {error}; write HOST:PORT")),
    };
    match TcpListener::bind(addresses.as_slice()) {
        Ok(_) => of(State::Ok, format!("{listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => of(
            State::Note,
            format!("{listen} is taken by another program (ss -ltnp shows by which): end that, or give --listen"),
        ),
        Err(error) => of(State::Note, format!("{listen}: {error}; give --listen an address of this machine")),
    }
}

fn python(words: &[&str]) -> Check {
    let of = |state, detail: String| Check::new("python", state, detail);
    let install = "install it: apt-get install python3 python3-venv; environments of jobs and endpoints need it";
    let (program, arguments) = words.split_first().unwrap_or((&"python3", &[]));
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            of(State::Ok, format!("{program} {}", String::from_utf8_lossy(&output.stdout).trim()))
        }
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
            of(State::Note, format!("{program} has no venv ({reason}); {install}"))
        }
        Err(error) => of(State::Note, format!("{program}: {error}; {install}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_wrong_and_one_with_little_is_a_note() {
        let check = |free_bytes| {
            let room = disk::Room { free_bytes, size_bytes: 1 << 40 };
            self::room(Ok(room), 100, Path::new("/data"))
        };
        assert_eq!([check(99).state, check(100).state, check(1 << 35).state], [State::Wrong, State::Note, State::Ok]);
        assert!(check(99).to_string().contains("sweep delete"), "{}", check(99));
        let absent = self::room(Err(io::Error::from(io::ErrorKind::NotFound)), 100, Path::new("/data"));
        assert_eq!(absent.state, State::Wrong);
    }

    #[test]
    fn a_clock_that_was_never_set_is_wrong_and_one_that_was_set_back_a_note() {
        let now: Timestamp = "2026-06-01T10:00:00Z".parse().unwrap();
        let shown = |seconds: i64| format!("boot 5 {}", now.as_microsecond() + seconds * 1_000_000);
        assert_eq!(clock(now, "").state, State::Ok);
        assert_eq!(clock(now, &shown(59)).state, State::Ok);
        let back = clock(now, &shown(3600));
        assert!(back.state == State::Note && back.detail.contains("set back") && back.detail.contains("NTP"), "{back}");
        assert_eq!(clock(Timestamp::UNIX_EPOCH, "").state, State::Wrong);
    }

    #[test]
    fn a_port_that_another_has_is_said_unless_that_is_the_server_itself() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        let found = port(&listen, false);
        assert!(found.state == State::Note && found.detail.contains("--listen"), "{found}");
        assert_eq!(port(&listen, true).state, State::Ok);
        drop(taken);
        assert_eq!(port("127.0.0.1:0", false).state, State::Ok);
        assert_eq!(port("nonsense", false).state, State::Wrong);
    }

    #[test]
    fn a_python_that_makes_no_environments_is_said() {
        for words in [["absent-python", "-c", ""], ["sh", "-c", "echo no module named venv >&2; exit 1"]] {
            let found = python(&words);
            assert!(found.state == State::Note && found.detail.contains("apt-get install"), "{found}");
        }
        assert_eq!(python(&["echo", "3.11.2", ""]).detail, "echo 3.11.2");
    }
}
