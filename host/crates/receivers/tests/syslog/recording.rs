//! What the server remembers.

use std::sync::Arc;

use forwarder_receivers::syslog::{IdFrom, Mode, SyslogReceiver};

use crate::sender::{SOON, counted, lines, message, send};

#[tokio::test]
async fn ids_are_counted_wherever_they_are() {
    let param = IdFrom::Param { sd_id: "sls@32473".into(), name: "id".into() };
    let by_text = IdFrom::With(Arc::new(|message| {
        let text = str::from_utf8(message.msg).ok()?;
        text.strip_prefix("body of ").map(str::to_owned)
    }));
    for from in [param, by_text] {
        let mode = Mode::Ids(from.clone());
        let receiver = SyslogReceiver::builder().mode(mode).start().await.unwrap();
        let anonymous = "<14>1 - - - - - - anonymous".to_owned();
        send(&receiver, counted([message("a"), message("]"), message("a"), anonymous])).await;
        receiver.wait_until(SOON, |tally| tally.received + tally.malformed == 4).await.unwrap();

        let received = receiver.stop().await;
        let tally = received.tally;
        // "]" must be escaped in structured data: that message is malformed in either case.
        assert_eq!((tally.received, tally.malformed), (3, 1), "{from:?}");
        assert_eq!((tally.distinct_ids, tally.without_id), (1, 1), "{from:?}");
        assert_eq!(received.ids.count("a"), 2, "{from:?}");
        assert!(received.messages.is_empty());
    }
}

#[tokio::test]
async fn counting_looks_at_nothing_but_frames() {
    let receiver = SyslogReceiver::builder().mode(Mode::Counts).start().await.unwrap();
    let stream = lines(["<no message", "at all"]);
    send(&receiver, &stream).await;

    let tally = receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!((tally.malformed, tally.bytes), (0, 17));
    assert_eq!(tally.wire_bytes, stream.len() as u64);
}
