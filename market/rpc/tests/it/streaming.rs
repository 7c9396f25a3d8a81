//! Events: each once, in order, through interruptions.

use cairn_ledger::Command;
use cairn_ledger::testing::Network as Story;
use cairn_protocol::{Amount, Epoch};
use cairn_rpc::client::{ClientError, StreamedEvent};
use cairn_rpc::events::{BlockData, EventId};
use cairn_rpc::{ProblemCode, ServerOptions};

use crate::support::{Ledger, Served};

fn transfer(ledger: &Ledger, amount: u64) {
    ledger.command(1, Command::Transfer { to: Story::address(2), amount: Amount(amount) });
}

fn amount(event: StreamedEvent) -> u64 {
    match event {
        StreamedEvent::Event(data) => data.event.fields["amount"].as_u64().unwrap(),
        StreamedEvent::Block(block) => panic!("a block {block:?}"),
    }
}

#[test]
fn a_stream_comes_back_after_the_server_was_away_and_gives_each_event_once() {
    let mut served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let mut events = served.client().events(Some(EventId::after_block(Epoch(0))), false);
    (1..=3).for_each(|n| transfer(&served.ledger, n));
    let got: Vec<u64> = events.by_ref().take(2).map(|event| amount(event.unwrap())).collect();
    assert_eq!(got, [1, 2]);
    served.stop();
    (4..=5).for_each(|n| transfer(&served.ledger, n));
    served.start();
    let got: Vec<u64> = events.by_ref().take(3).map(|event| amount(event.unwrap())).collect();
    assert_eq!(got, [3, 4, 5]);
    assert_eq!(events.seen(), Some("5:0".parse().unwrap()));
}

#[test]
fn several_events_of_one_block_are_told_apart() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let ledger = &served.ledger;
    for n in 1..=4 {
        let command = Command::Transfer { to: Story::address(2), amount: Amount(n) };
        ledger.handle().submit_command(&Story::key(1), command).unwrap();
    }
    ledger.block();
    ledger.block();
    let rest = |after: &str| {
        let stream = served.client().events(Some(after.parse().unwrap()), true);
        stream.take(6 - usize::from(after == "1:1") * 2).map(Result::unwrap).collect::<Vec<_>>()
    };
    let all = rest("0");
    assert_eq!(all[..4].iter().cloned().map(amount).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(all[4..], [(1, 4), (2, 0)].map(|(height, events)| StreamedEvent::Block(BlockData { height, events })));
    let later = rest("1:1");
    assert_eq!(later[..2].iter().cloned().map(amount).collect::<Vec<_>>(), [3, 4], "the second was seen");
    assert_eq!(later[2..], all[4..]);
}

#[test]
fn what_is_no_longer_kept_is_said() {
    let served = Served::new(Ledger::new(2), ServerOptions::default());
    (1..=6).for_each(|n| transfer(&served.ledger, n));
    let mut events = served.client().events(Some(EventId::after_block(Epoch(1))), false);
    match events.next().unwrap().unwrap_err() {
        ClientError::Problem(problem) => assert_eq!(problem.code, ProblemCode::Forgotten),
        other => panic!("{other}"),
    }
    assert!(events.next().is_none());
    let answer = served.ask("GET", "/v1/events", "last-event-id: x\r\n", "");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"where\":\"last-event-id\""), "{answer}");
}
