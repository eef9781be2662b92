//! The shim server of a node: a process with one thread that forks a shim for each attempt.
//!
//! Starting a program as large as ours costs more than most of what a shim does: its pages are mapped, its addresses
//! relocated, its allocator set up. Here that is done once a node. The agent asks by a socket, which is the server's
//! standard input; with the agent's end the socket is closed and the server ends, while its shims go on: they hold
//! neither the socket nor its session.
//!
//! ```text
//! request:  length (u32, little endian), kind (one byte), text
//!           kind S: start a shim of the attempt whose folder the text is; answered by its pid (i32) or -errno
//!           kind R: the shim whose pid (decimal) the text is has ended and is waited for no more; not answered
//! ```
//!
//! A shim is a zombie until `R`, so that its number is nobody else's while the agent opens a handle of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Pid, WaitOptions};

/// Start a shim.
pub const START: u8 = b'S';
/// Reap a shim.
pub const REAP: u8 = b'R';
/// Bytes of a request: a path and its kind.
pub const REQUEST_MAX: usize = 4096 + 1;
/// Bytes that an attempt's path is longer than its node's: `/jobs/`, a job's id, `/`, a number.
const PATH_ROOM: usize = 192;

/// The word after the folder in the server's command line: a forked process can be renamed only where its line lies,
/// and the name of an attempt's folder is longer than that of its node.
pub fn padding() -> String {
    "_".repeat(PATH_ROOM)
}

/// Serves until the agent is gone.
pub fn shim_server_main() -> ExitCode {
    // So that a signal for the agent's group does not end it. It fails only for the leader of a group.
    let _ = rustix::process::setsid();
    let served = io::stdin().as_fd().try_clone_to_owned().and_then(|socket| {
        // The second descriptor is closed on exec; of the first nothing is left to inherit.
        let nothing = File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(nothing)?;
        serve(UnixStream::from(socket))
    });
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(mut agent: UnixStream) -> io::Result<()> {
    loop {
        let Some((kind, text)) = request(&mut agent)? else { return Ok(()) };
        match kind {
            START => {
                let folder = PathBuf::from(std::ffi::OsStr::from_bytes(&text));
                match fork() {
                    Ok(Some(child)) => agent.write_all(&child.as_raw_pid().to_le_bytes())?,
                    Ok(None) => {
                        drop(agent);
                        leave_as(&folder);
                    }
                    Err(error) => agent.write_all(&(-error.raw_os_error().unwrap_or(1)).to_le_bytes())?,
                }
            }
            REAP => {
                let pid = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i32>().ok());
                if let Some(pid) = pid.filter(|pid| *pid > 0).and_then(Pid::from_raw) {
                    // It has ended: the agent has seen that. Were it another, nothing is waited for.
                    let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
                }
            }
            _ => return Err(io::Error::other("not a request")),
        }
    }
}

/// One request; `None` when the agent is gone.
fn request(agent: &mut UnixStream) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut length = [0; 4];
    match agent.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(1..=REQUEST_MAX).contains(&length) {
        return Err(io::Error::other("a request of this length is none"));
    }
    let mut bytes = vec![0; length];
    agent.read_exact(&mut bytes)?;
    let kind = bytes.remove(0);
    Ok(Some((kind, bytes)))
}

/// The child's pid; `None` in the child.
#[expect(unsafe_code, reason = "there is no safe way to fork")]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so the child has all of it: no lock is held by a thread that is missing.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
}

/// What the child does: it becomes the shim of the attempt, and ends as such.
fn leave_as(folder: &Path) -> ! {
    // A shim under another name, or in another folder, does its work as well.
    let _ = rename(folder);
    let _ = std::env::set_current_dir(folder);
    let has_run = super::run_noted(folder);
    std::process::exit(i32::from(!has_run))
}

/// Makes this process's command line `PROGRAM shim FOLDER`, as that of a shim which was started alone: people look for
/// it there.
///
/// # Errors
/// When the line has no room for that, or may not be written.
fn rename(folder: &Path) -> io::Result<()> {
    let (start, room) = command_line()?;
    let program = std::env::args_os().next().unwrap_or_default();
    let mut line = program.as_bytes().to_vec();
    for word in [b"shim", folder.as_os_str().as_bytes()] {
        line.push(0);
        line.extend_from_slice(word);
    }
    // What is left of the earlier line is erased; its last byte stays zero, which says that the line ends there.
    if line.len() >= room {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    line.resize(room, 0);
    OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&line, start)
}

/// Where this process's command line lies in its memory, and how long it is: fields 48 and 49 of `/proc/self/stat`
/// (proc(5)).
fn command_line() -> io::Result<(u64, usize)> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rfind(')').and_then(|at| text.get(at + 1..)).unwrap_or_default();
    let mut fields = after_name.split_ascii_whitespace().skip(45).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(start)), Some(Ok(end))) if start > 0 && end > start => {
            Ok((start, usize::try_from(end - start).unwrap_or_default()))
        }
        _ => Err(io::Error::other("/proc/self/stat does not say where the command line is")),
    }
}
