//! How much of what we wrote has reached the receiver's kernel.
//!
//! Linux reports with `SIOCOUTQ` how many bytes of a TCP socket its peer has not acknowledged (tcp(7)). It is the
//! nearest thing to an acknowledgement that plain syslog has: at zero, a crash on our side or in the network
//! loses nothing any more. What the receiving program does with the bytes it does not say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP stream that counts what our kernel has accepted. Below TLS, so it counts ciphertext.
#[derive(Debug)]
pub(super) struct CountedStream {
    stream: TcpStream,
    accepted: Arc<AtomicU64>,
}

/// Watches the acknowledgements of one [`CountedStream`].
#[derive(Debug)]
pub(super) struct AckGauge {
    /// A second handle of the same socket, since TLS hides the first.
    socket: socket2::Socket,
    accepted: Arc<AtomicU64>,
}

impl CountedStream {
    pub(super) fn new(stream: TcpStream) -> io::Result<(Self, AckGauge)> {
        let socket = socket2::SockRef::from(&stream).try_clone()?;
        let accepted = Arc::new(AtomicU64::new(0));
        Ok((Self { stream, accepted: Arc::clone(&accepted) }, AckGauge { socket, accepted }))
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.accepted.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl AckGauge {
    /// Bytes that our kernel has taken since the connection was made.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Bytes that the peer's kernel has acknowledged, as far as this system reports it; elsewhere, those that
    /// our own kernel has taken.
    pub(super) fn acknowledged(&self) -> u64 {
        let accepted = self.accepted();
        outstanding(&self.socket).map_or(accepted, |bytes| accepted.saturating_sub(bytes))
    }

    /// Whether nothing that was sent is unacknowledged, the end of our side included.
    pub(super) fn is_idle(&self) -> bool {
        outstanding(&self.socket).is_none_or(|bytes| bytes == 0)
    }

    /// Whether something has come from the peer that was not read yet: bytes, or the end of its side.
    pub(super) fn has_unread(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// The error that the socket has met, if any; it is reported once.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }
}

/// `None` where the system does not report it.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn outstanding(socket: &socket2::Socket) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// The same number as `TIOCOUTQ` on these architectures (`asm-generic/ioctls.h`).
    const SIOCOUTQ: Opcode = 0x5411;

    #[expect(
        unsafe_code,
        reason = "no crate offers this call safely; SIOCOUTQ writes one int, which is what is declared \
                  here, and nothing else"
    )]
    // SAFETY: see the reason above. A descriptor that is no TCP socket makes the call fail.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) };
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
fn outstanding(_socket: &socket2::Socket) -> Option<u64> {
    None
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
