//! A TCP proxy before a Unix socket or several ports, which can slow its connections down, hold them, or cut them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Bytes that are carried at once.
const CHUNK: usize = 1 << 16;

/// What a proxy does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It carries.
    Through,
    /// It carries each chunk so much later.
    Slow(Duration),
    /// It carries nothing, and nobody is told: connections are half open.
    Still,
    /// Connections end, and new ones do at once.
    Cut,
}

/// A proxy on a port of this machine. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    link: watch::Sender<Link>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Begins to listen.
    ///
    /// # Panics
    /// When it cannot.
    pub fn to_socket(socket: &Path) -> Self {
        Self::to(Behind::Socket(socket.to_owned()))
    }

    /// Begins to listen; each connection goes to another of these ports of this machine, in turn, and past those where
    /// nobody listens.
    ///
    /// # Panics
    /// When it cannot.
    pub fn to_ports(ports: &[u16]) -> Self {
        Self::to(Behind::Ports(ports.to_vec()))
    }

    fn to(behind: Behind) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        // Whoever makes it may be a task of another runtime, which must not wait for this one.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener for tasks");
        let port = listener.local_addr().expect("a bound address").port();
        let (link, seen) = watch::channel(Link::Through);
        runtime.spawn(listen(listener, behind, seen));
        Self { port, link, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it does this.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who is behind it.
#[derive(Clone)]
enum Behind {
    Socket(PathBuf),
    Ports(Vec<u16>),
}

type Reads = Box<dyn AsyncRead + Unpin + Send>;
type Writes = Box<dyn AsyncWrite + Unpin + Send>;

impl Behind {
    /// The next time others are asked first.
    fn turn(&mut self) {
        if let Self::Ports(ports) = self {
            ports.rotate_left(1);
        }
    }

    /// The first who is there.
    async fn connect(&self) -> Option<(Reads, Writes)> {
        match self {
            Self::Socket(socket) => {
                let (from, to) = UnixStream::connect(socket).await.ok()?.into_split();
                Some((Box::new(from), Box::new(to)))
            }
            Self::Ports(ports) => {
                for port in ports {
                    if let Ok(stream) = TcpStream::connect(("127.0.0.1", *port)).await {
                        let _ = stream.set_nodelay(true);
                        let (from, to) = stream.into_split();
                        return Some((Box::new(from), Box::new(to)));
                    }
                }
                None
            }
        }
    }
}

async fn listen(listener: std::net::TcpListener, mut behind: Behind, link: watch::Receiver<Link>) {
    let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
    while let Ok((client, _)) = listener.accept().await {
        if *link.borrow() != Link::Cut {
            tokio::spawn(connect(client, behind.clone(), link.clone()));
            behind.turn();
        }
    }
}

async fn connect(client: TcpStream, behind: Behind, link: watch::Receiver<Link>) {
    // Nobody there: the client sees its connection end.
    let Some((from_server, to_server)) = behind.connect().await else { return };
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let mut cut = link.clone();
    tokio::select! {
        () = carry(from_client, to_server, link.clone()) => {}
        () = carry(from_server, to_client, link) => {}
        _ = cut.wait_for(|link| *link == Link::Cut) => {}
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut link: watch::Receiver<Link>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        if link.wait_for(|link| *link != Link::Still).await.is_err() {
            return;
        }
        let late = match *link.borrow() {
            Link::Slow(late) => late,
            _ => Duration::ZERO,
        };
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_carries_holds_and_cuts() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("echo");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            }
        });
        let proxy = Proxy::to_socket(&socket);
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let mut stream = connect();
        let round = |stream: &mut TcpStream| {
            let mut byte = [0];
            stream.write_all(&[7])?;
            stream.read_exact(&mut byte).map(|()| byte[0])
        };
        assert_eq!(round(&mut stream).unwrap(), 7);
        proxy.set(Link::Still);
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(round(&mut stream).is_err(), "nothing comes back");
        proxy.set(Link::Slow(Duration::from_millis(1)));
        stream.set_read_timeout(None).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7], "what was held comes when the link is up again");
        proxy.set(Link::Cut);
        assert_eq!(stream.read(&mut byte).unwrap_or(0), 0, "the connection ends");
        assert!(round(&mut connect()).is_err(), "and a new one, too");
        proxy.set(Link::Through);
        assert_eq!(round(&mut connect()).unwrap(), 7);
    }
    #[test]
    fn connections_go_in_turn_to_those_who_are_there() {
        let listeners: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let serve = |listener: std::net::TcpListener, own: u8| {
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&[own]).unwrap();
                listener
            })
        };
        let proxy = Proxy::to_ports(&ports);
        let who = || {
            let (mut stream, mut byte) = (TcpStream::connect(("127.0.0.1", proxy.port())).unwrap(), [0]);
            stream.read_exact(&mut byte).unwrap();
            byte[0]
        };
        let mut served: Vec<_> = listeners.into_iter().zip(0..).map(|(listener, own)| serve(listener, own)).collect();
        assert_eq!([who(), who()], [0, 1]);
        let second = served.pop().unwrap().join().unwrap();
        // The first one is gone.
        drop(served.pop().unwrap().join().unwrap());
        let served = serve(second, 1);
        assert_eq!(who(), 1);
        served.join().unwrap();
    }
}
