//! `cairn wallet`.

use std::path::Path;

use anyhow::Context;
use cairn_ledger::{Address, Command};
use cairn_protocol::{Amount, ProviderId};
use cairn_rpc::wire::{Account, NetworkGrade, RailAccount, Rewards};
use serde::Serialize;

use super::session::Session;
use super::table::facts;
use crate::cli::{DevnetRole, WalletBalanceArguments, WalletCommand};
use crate::key_file::{self, KeyFile};
use crate::output::Output;

/// What a key file is for.
#[derive(Serialize)]
struct KeyReport {
    address: Address,
    grade: NetworkGrade,
    file: String,
}

/// What an account has.
#[derive(Serialize)]
struct BalanceReport {
    #[serde(flatten)]
    account: Account,
    rewards: Rewards,
    rails: RailAccount,
    checker_stake: Amount,
}

/// Runs the command.
pub fn run(command: WalletCommand) -> anyhow::Result<()> {
    match command {
        WalletCommand::New(new) => {
            let grade = if new.development { NetworkGrade::Development } else { NetworkGrade::Production };
            let key = KeyFile::generate(grade);
            key.write_new(&new.out)?;
            report(&key, &new.out, new.json)
        }
        WalletCommand::Import(import) => {
            let role = match import.role {
                DevnetRole::Client => "client",
                DevnetRole::Provider => "provider",
                DevnetRole::Worker => "worker",
            };
            let key = key_file::from_devnet(&import.devnet, role)?;
            key.write_new(&import.out)?;
            report(&key, &import.out, import.json)
        }
        WalletCommand::Show(show) => report(&KeyFile::read(&show.key)?, &show.key, show.json),
        WalletCommand::Balance(arguments) => balance(&arguments),
        WalletCommand::Send(send) => {
            let what = format!("{} units to {}", send.amount, send.to);
            let command = Command::Transfer { to: send.to, amount: send.amount };
            Session::open(&send.ledger)?.act_and_tell(&send.signer, command, &what)
        }
        WalletCommand::Claim(claim) => {
            let command = Command::ClaimRewards { provider: claim.provider.map(ProviderId) };
            Session::open(&claim.ledger)?.act_and_tell(&claim.signer, command, "what has vested is free")
        }
    }
}

fn report(key: &KeyFile, path: &Path, json: bool) -> anyhow::Result<()> {
    let report = KeyReport { address: key.address(), grade: key.grade, file: path.display().to_string() };
    let grade = match key.grade {
        NetworkGrade::Development => "development: refused by other networks' commands",
        NetworkGrade::Production => "production",
    };
    Output::from_flag(json).print_as(&report, || {
        facts([
            ("address", Some(report.address.to_string())),
            ("grade", Some(grade.to_owned())),
            ("file", Some(report.file.clone())),
        ])
    })
}

fn balance(arguments: &WalletBalanceArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let address = match (&arguments.address, &arguments.key) {
        (Some(address), _) => *address,
        (None, Some(path)) => KeyFile::read(path)?.address(),
        (None, None) => return Err(anyhow::anyhow!("expected an address or --key")),
    };
    let report = BalanceReport {
        account: session.client.account(&address).context("the balance")?,
        rewards: session.client.rewards(&address)?,
        rails: session.client.rail_account(&address)?,
        checker_stake: session.client.checker(&address)?.map_or(Amount::ZERO, |checker| checker.stake),
    };
    let BalanceReport { account, rewards, rails, checker_stake } = &report;
    let waiting = account.next_nonce.saturating_sub(account.nonce);
    let some = |amount: Amount| !amount.is_zero();
    let until = rails.funded_until.map_or(String::new(), |epoch| format!(", lasts until epoch {epoch}"));
    session.output.print_as(&report, || {
        facts([
            ("address", Some(address.to_string())),
            ("free", Some(format!("{} units", account.balance))),
            (
                "rewards",
                some(rewards.locked).then(|| {
                    format!("{} units not free yet, {} of them to be claimed now", rewards.locked, rewards.vested)
                }),
            ),
            (
                "for rails",
                some(rails.funds).then(|| format!("{} units, {} of them locked{until}", rails.funds, rails.lockup)),
            ),
            ("as checker", some(*checker_stake).then(|| format!("{checker_stake} units"))),
            ("transactions", Some(account.nonce.to_string())),
            ("waiting", (waiting > 0).then(|| waiting.to_string())),
        ])
    })
}
