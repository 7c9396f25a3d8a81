//! Transactions over the wire.

use std::time::Duration;

use cairn_ledger::testing::Network as Story;
use cairn_ledger::{ChainId, Command, SignedTransaction, Transaction, TransactionId};
use cairn_protocol::Amount;
use cairn_rpc::ServerOptions;
use cairn_rpc::client::ClientError;
use cairn_rpc::wire::{Outcome, TransactionState};

use crate::support::{Ledger, PATIENCE, Served};

fn transfer(amount: u64) -> Command {
    Command::Transfer { to: Story::address(2), amount: Amount(amount) }
}

fn signed(chain: ChainId, nonce: u64, amount: u64) -> SignedTransaction {
    Transaction { chain, sender: Story::address(1), nonce, command: transfer(amount) }.sign(&Story::key(1))
}

#[test]
fn a_transaction_is_taken_once_however_often_it_is_handed_in() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    let transaction = signed(ledger.chain(), 0, 5);
    let id = client.submit(&transaction).unwrap();
    assert_eq!((id, client.submit(&transaction).unwrap()), (transaction.id(), id));
    let waiting = client.transaction(&id, Duration::ZERO).unwrap().unwrap();
    assert_eq!((waiting.state, waiting.receipt), (TransactionState::Waiting, None));
    assert_eq!(client.account(&Story::address(1)).unwrap().next_nonce, 1);
    ledger.block();
    assert_eq!(client.submit(&transaction).unwrap(), id, "also when it is in a block");
    let told = client.transaction(&id, Duration::ZERO).unwrap().unwrap();
    let (receipt, asked) = (told.receipt.unwrap(), told.transaction.unwrap());
    assert_eq!((receipt.outcome, receipt.index, asked.nonce), (Outcome::Applied, 0, 0));
    assert_eq!((asked.kind.as_str(), asked.fields["amount"].as_u64()), ("Transfer", Some(5)));
    assert_eq!(receipt.number("Transferred", "amount"), Some(5));
    assert_eq!(client.transaction(&TransactionId([7; 32]), Duration::ZERO).unwrap(), None);
}

#[test]
fn what_cannot_be_in_a_block_is_refused_with_the_ledgers_reason() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    let reason = |transaction: &SignedTransaction| match client.submit(transaction).unwrap_err() {
        ClientError::Problem(problem) => (problem.code.status().as_u16(), problem.got.unwrap(), problem.expected),
        other => panic!("{other}"),
    };
    let chain = ledger.chain();
    assert_eq!(reason(&signed(chain, 7, 5)), (422, "WrongNonce".to_owned(), Some("0".to_owned())));
    assert_eq!(reason(&signed(ChainId([9; 32]), 0, 5)).1, "WrongChain");
    let mut forged = signed(chain, 0, 5);
    forged.transaction.command = transfer(6);
    assert_eq!(reason(&forged).1, "BadSignature");
    let json = "content-type: application/json\r\n";
    for (body, what) in
        [("{", "bad_body"), ("{\"transaction\":\"xy\"}", "bad_body"), ("{\"transaction\":\"00\"}", "bad_body")]
    {
        let answer = served.ask("POST", "/v1/transactions", json, body);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(what), "{answer}");
    }
    assert_eq!(ledger.handle().waiting(), 0);
}

#[test]
fn a_client_signs_waits_and_is_told_what_the_ledger_refused() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| client.carry_out(ledger.chain(), &Story::key(1), &transfer(5), PATIENCE));
        while ledger.handle().waiting() == 0 && !sender.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        ledger.block();
        let (id, receipt) = sender.join().unwrap().unwrap();
        assert_eq!((receipt.height.0, ledger.handle().receipt(&id).unwrap().is_some()), (1, true));

        let sender = scope.spawn(|| client.carry_out(ledger.chain(), &Story::key(1), &transfer(u64::MAX), PATIENCE));
        while ledger.handle().waiting() == 0 && !sender.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        ledger.block();
        let error = sender.join().unwrap().unwrap_err();
        let ClientError::Failed { refusal, .. } = &error else { panic!("{error}") };
        assert_eq!(refusal.kind, "InsufficientFunds");
        assert!(error.to_string().contains(&Story::address(1).to_string()), "{error}");
    });
    let late = client.carry_out(ledger.chain(), &Story::key(1), &transfer(5), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(late, ClientError::Timeout { .. }), "{late}");
    let other = client.expect_chain(&ChainId([9; 32])).unwrap_err();
    assert!(matches!(other, ClientError::WrongChain { .. }), "{other}");
}
