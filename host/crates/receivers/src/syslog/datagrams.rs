//! Syslog over UDP: one message per datagram (RFC 5426).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::faults::ReadSpeed;
use super::intake::Intake;
use crate::server::StartError;

/// No datagram is larger.
const MAX_DATAGRAM: usize = 65_535;

/// Owns the socket and the task that reads it. Dropping it ends both.
pub(crate) struct Datagrams {
    addr: SocketAddr,
    intake: Arc<Intake>,
    reading: Mutex<JoinSet<()>>,
}

impl Datagrams {
    pub(crate) async fn open(addr: SocketAddr, intake: Arc<Intake>) -> Result<Self, StartError> {
        let (socket, addr) = bind(addr).await?;
        let mut reading = JoinSet::new();
        reading.spawn(read(socket, Arc::clone(&intake)));
        Ok(Self { addr, intake, reading: Mutex::new(reading) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes datagrams again after `down`; does nothing if it takes them already.
    pub(crate) async fn up(&self) -> Result<(), StartError> {
        let mut reading = self.reading.lock().await;
        if reading.is_empty() {
            let (socket, _) = bind(self.addr).await?;
            reading.spawn(read(socket, Arc::clone(&self.intake)));
        }
        Ok(())
    }

    /// Closes the socket; datagrams that arrive from now on are lost.
    pub(crate) async fn down(&self) {
        self.reading.lock().await.shutdown().await;
    }
}

async fn bind(addr: SocketAddr) -> Result<(UdpSocket, SocketAddr), StartError> {
    let unavailable = |source| StartError::Unavailable { addr, source };
    let socket = UdpSocket::bind(addr).await.map_err(unavailable)?;
    let addr = socket.local_addr().map_err(unavailable)?;
    Ok((socket, addr))
}

async fn read(socket: UdpSocket, intake: Arc<Intake>) {
    let mut read_speed = intake.faults().read_speed();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let paused = *read_speed.borrow_and_update() == ReadSpeed::Paused;
        let received = tokio::select! {
            biased;
            changed = read_speed.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            received = socket.recv(&mut buffer), if !paused => received,
        };
        // An error here is about an earlier datagram of our own, and we send none.
        let Ok(length) = received else { continue };
        let datagram = buffer.get(..length).unwrap_or_default();
        let mut batch = intake.empty_batch();
        intake.take(datagram, &mut batch);
        let _no_connection_to_end = intake.enter(batch, length as u64);
    }
}
