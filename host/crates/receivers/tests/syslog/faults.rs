//! Each way to misbehave, by name.

use std::io::ErrorKind;
use std::time::Duration;

use forwarder_receivers::syslog::SyslogReceiver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::sender::{SOON, connect, counted, message, send};

fn messages(ids: std::ops::Range<u32>) -> Vec<u8> {
    counted(ids.map(|id| message(&id.to_string())))
}

#[tokio::test]
async fn a_server_that_stops_reading_makes_the_sender_wait() {
    let receiver = SyslogReceiver::builder().receive_buffer(8 * 1024).start().await.unwrap();
    receiver.faults().pause_reading();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(receiver.addr()).await.unwrap();

    let sent = messages(0..20_000);
    let stalled = stream.write_all(&sent);
    assert!(tokio::time::timeout(Duration::from_millis(50), stalled).await.is_err());
    assert_eq!(receiver.tally().received, 0);

    // How much of the abandoned write was handed over is unknown, so the rest is not sent.
    drop(stream);
    receiver.faults().resume_reading();
    receiver.wait_for(1, SOON).await.unwrap();
}

#[tokio::test]
async fn a_pause_reaches_connections_that_are_waiting_for_bytes() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    let mut stream = connect(&receiver).await;
    stream.write_all(&messages(0..1)).await.unwrap();
    receiver.wait_for(1, SOON).await.unwrap();

    receiver.faults().pause_reading();
    stream.write_all(&messages(1..2)).await.unwrap();
    assert!(receiver.wait_for(2, Duration::from_millis(20)).await.is_err());
    receiver.faults().resume_reading();
    receiver.wait_for(2, SOON).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_the_end() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    receiver.faults().read_slowly(100, Duration::from_millis(1));
    send(&receiver, messages(0..20)).await;

    receiver.wait_for(20, SOON).await.unwrap();
}

#[tokio::test]
async fn a_connection_closed_early_loses_what_was_sent_beyond() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    receiver.faults().close_after(3);
    let mut stream = connect(&receiver).await;
    stream.write_all(&messages(0..5)).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(receiver.tally().received, 3);

    send(&receiver, messages(3..5)).await;
    receiver.wait_for(5, SOON).await.unwrap();
}

#[tokio::test]
async fn a_reset_is_not_an_orderly_end() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    receiver.faults().reset_after(1);
    let mut stream = connect(&receiver).await;
    stream.write_all(&messages(0..1)).await.unwrap();

    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(receiver.tally().received, 1);
}

#[tokio::test]
async fn a_discarded_message_is_missing() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    receiver.faults().discard_one();
    send(&receiver, messages(0..3)).await;

    let tally = receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!((tally.received, tally.discarded), (2, 1));
}

#[tokio::test]
async fn a_server_that_was_down_comes_back_on_the_same_port() {
    let receiver = SyslogReceiver::builder().start().await.unwrap();
    let addr = receiver.addr();
    let mut stream = connect(&receiver).await;
    stream.write_all(&messages(0..1)).await.unwrap();
    receiver.wait_for(1, SOON).await.unwrap();

    receiver.down().await;
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)), "open connections end");
    let refused = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    receiver.up().await.unwrap();
    send(&receiver, messages(1..2)).await;
    receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!(receiver.addr(), addr);
}
