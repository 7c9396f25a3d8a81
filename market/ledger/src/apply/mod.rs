//! The step: one block's effect on the state.
//!
//! 1. Refuse a block that cannot follow (epoch, time, limits); nothing has happened yet.
//! 2. Enter the epoch: record its beacon, forget the oldest one.
//! 3. Do what the calendar of rounds asks (`apply::rewards`, `apply::scoring`). Take due queue entries, oldest first, until
//!    the block's weight is used; what is left of it ends rails whose payers ran dry.
//! 4. Check all signatures as one batch, then all proofs as another (`apply::proofs`).
//! 5. Take the transactions in order:
//!    a. not admitted (size, chain, signature, sender, nonce, fee): no effect;
//!    b. nonce used, fee burnt;
//!    c. command carried out; if it fails, everything since (b) is undone.
//! 6. Hash.

mod assignment;
mod attributes;
mod audits;
mod channels;
mod checkers;
mod deals;
mod jobs;
mod orders;
mod posts;
mod proofs;
mod providers;
mod rails;
pub(crate) mod rewards;
mod scoring;
mod sealing;
mod sector_life;
mod served;
mod stake;

use cairn_protocol::{Epoch, ProviderId};
use serde::{Deserialize, Serialize};

use self::proofs::Verdicts;
use crate::command::Command;
use crate::event::Event;
use crate::ids::{Address, Beacon, StateRoot, TransactionId};
use crate::proof::ProofVerifier;
use crate::provider::Provider;
use crate::queue::Due;
use crate::rejection::{AdmissionRejection, BlockRejection, Rejection};
use crate::signatures::verify_signatures;
use crate::state::State;
use crate::transaction::{SignedTransaction, Transaction};

/// What a block brings from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockContext {
    /// The block's height; one more than the last.
    pub epoch: Epoch,
    /// Milliseconds since 1970; not before the last block's.
    pub time_ms: u64,
    /// Randomness of the epoch.
    pub beacon: Beacon,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Carried out.
    Applied,
    /// Nonce and fee are spent, nothing else happened.
    Failed(Rejection),
    /// No effect; does not belong in a block.
    Refused(AdmissionRejection),
}

/// A transaction's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which transaction.
    pub transaction: TransactionId,
    /// In which block.
    pub epoch: Epoch,
    /// Position in the block.
    pub index: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// What it did, in order; empty unless applied.
    pub events: Vec<Event>,
}

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockOutcome {
    /// One per transaction, in order.
    pub receipts: Vec<Receipt>,
    /// Everything that happened, in order: due work first, then the transactions' events.
    pub events: Vec<Event>,
    /// Root of the state after the block.
    pub state_root: StateRoot,
}

/// A step in progress: the state and what happened so far.
struct Step<'a> {
    state: &'a mut State,
    events: Vec<Event>,
    verifier: &'a dyn ProofVerifier,
    verdicts: Verdicts,
    /// Sender and position of the transaction whose turn it is.
    sender: Address,
    index: usize,
}

/// How the proofs of a block are checked; it makes no difference to what the block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checking {
    Together,
    #[cfg(test)]
    OneByOne,
}

impl State {
    /// Applies a block. A copy made before is the state to go back to; it costs next to nothing.
    ///
    /// # Errors
    /// [`BlockRejection`] if the block cannot follow this state; the state is unchanged.
    pub fn apply_block(
        &mut self,
        context: &BlockContext,
        transactions: &[SignedTransaction],
        verifier: &dyn ProofVerifier,
    ) -> Result<BlockOutcome, BlockRejection> {
        self.apply_checking(context, transactions, verifier, Checking::Together)
    }

    fn apply_checking(
        &mut self,
        context: &BlockContext,
        transactions: &[SignedTransaction],
        verifier: &dyn ProofVerifier,
        checking: Checking,
    ) -> Result<BlockOutcome, BlockRejection> {
        self.check_block(context, transactions)?;
        self.enter_epoch(context);
        let (events, verdicts, sender) = (Vec::new(), Verdicts::default(), Address([0; 32]));
        let mut step = Step { state: self, events, verifier, verdicts, sender, index: 0 };
        step.turn_rounds();
        step.process_queue();
        let valid = verify_signatures(transactions);
        if checking == Checking::Together {
            step.judge(transactions, &valid);
        }
        let mut receipts = Vec::with_capacity(transactions.len());
        for (index, (signed, valid)) in transactions.iter().zip(valid).enumerate() {
            let first_event = step.events.len();
            step.index = index;
            let outcome = step.process_transaction(signed, valid);
            receipts.push(Receipt {
                transaction: signed.id(),
                epoch: context.epoch,
                index: index as u32,
                outcome,
                events: step.events[first_event..].to_vec(),
            });
        }
        let events = step.events;
        Ok(BlockOutcome { receipts, events, state_root: self.root() })
    }

    fn check_block(&self, context: &BlockContext, transactions: &[SignedTransaction]) -> Result<(), BlockRejection> {
        let expected = Epoch(self.meta.epoch.0 + 1);
        if context.epoch != expected {
            return Err(BlockRejection::WrongEpoch { expected, got: context.epoch });
        }
        if context.time_ms < self.meta.time_ms {
            return Err(BlockRejection::TimeBackwards { previous: self.meta.time_ms, got: context.time_ms });
        }
        let params = &self.meta.params;
        if transactions.len() > params.block_transactions_max as usize {
            return Err(BlockRejection::TooManyTransactions {
                limit: params.block_transactions_max,
                got: transactions.len(),
            });
        }
        let bytes = transactions.iter().map(|signed| signed.encode().len() as u64).sum();
        if bytes > params.block_bytes_max {
            return Err(BlockRejection::TooManyBytes { limit: params.block_bytes_max, got: bytes });
        }
        let weight = transactions.iter().map(|signed| self.weight_of(signed)).sum();
        if weight > params.block_weight_max {
            return Err(BlockRejection::TooHeavy { limit: params.block_weight_max, got: weight });
        }
        Ok(())
    }

    fn enter_epoch(&mut self, context: &BlockContext) {
        self.meta.epoch = context.epoch;
        self.meta.time_ms = context.time_ms;
        self.beacons.insert(context.epoch, context.beacon);
        if let Some(forgotten) = context.epoch.0.checked_sub(self.meta.params.beacon_window) {
            self.beacons.remove(&Epoch(forgotten));
        }
    }

    /// Checks everything about a transaction but its signature that decides whether it may enter a block at `nonce`.
    ///
    /// # Errors
    /// [`AdmissionRejection`], as in the receipt.
    pub fn check_admission(&self, signed: &SignedTransaction, nonce: u64) -> Result<(), AdmissionRejection> {
        let (limit, got) = (self.meta.params.transaction_bytes_max, signed.encode().len() as u64);
        if got > limit {
            return Err(AdmissionRejection::TooLarge { limit, got });
        }
        self.check_sender(signed, nonce)
    }

    /// The part of [`State::check_admission`] that may change from block to block, which is also the quick part.
    ///
    /// # Errors
    /// [`AdmissionRejection`], as in the receipt.
    pub fn check_sender(&self, signed: &SignedTransaction, nonce: u64) -> Result<(), AdmissionRejection> {
        let Transaction { chain, sender, nonce: got, .. } = signed.transaction;
        if chain != self.meta.chain {
            return Err(AdmissionRejection::WrongChain { expected: self.meta.chain, got: chain });
        }
        let Some(account) = self.accounts.get(&sender) else {
            return Err(AdmissionRejection::UnknownSender { sender });
        };
        if got != nonce {
            return Err(AdmissionRejection::WrongNonce { sender, expected: nonce, got });
        }
        let fee = self.meta.params.transaction_fee;
        if account.balance < fee {
            return Err(AdmissionRejection::FeeUnpaid { sender, fee, available: account.balance });
        }
        Ok(())
    }
}

impl Step<'_> {
    fn now(&self) -> Epoch {
        self.state.meta.epoch
    }

    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Takes due entries while there is weight left; the last one may exceed it.
    fn process_queue(&mut self) {
        let mut weight_left = self.state.meta.params.queue_weight_per_block;
        while weight_left > 0 {
            let Some((due_at, due)) = self.state.take_due() else { break };
            weight_left = weight_left.saturating_sub(self.process_due(due_at, due).max(1));
        }
        while weight_left > 0 && self.end_next_unfunded_rail() {
            weight_left -= 1;
        }
    }

    /// Does what is due; returns its weight.
    fn process_due(&mut self, due_at: Epoch, due: Due) -> u64 {
        match due {
            Due::PartitionClose(provider, deadline, partition) => {
                self.close_partition((provider, deadline, partition), due_at)
            }
            Due::PreCommitExpiry(provider, sector) => self.expire_pre_commit(provider, sector, due_at),
            Due::BidWindowClose(order) => self.close_bid_window(order),
            Due::RevealWindowClose(order) => self.assign_order(order),
            Due::DealActivation(deal) => self.expire_assigned_deal(deal, due_at),
            Due::DealEnd(deal) => self.end_deal(deal),
            Due::ForgetOrder(order) => self.forget_order(order),
            Due::ForgetDeal(deal) => u64::from(self.state.deals.remove(&deal)),
            Due::ChannelClose(channel) => self.end_channel(channel),
            Due::StakeRelease(validator) => self.release_stake(validator, due_at),
            Due::ForgetOffence(validator, height) => u64::from(self.state.offences.remove(&(validator, height))),
            Due::RailEnd(rail) => self.end_rail(rail, due_at),
            Due::CheckerExit(checker) => self.release_checker(checker, due_at),
            Due::ForgetChannel(channel) => u64::from(self.state.channels.remove(&channel)),
            Due::ForgetSector(provider, sector) => u64::from(self.state.sectors.remove(&(provider, sector))),
            Due::Job(due, job) => self.process_job_due(due_at, due, job),
            Due::ForgetPaidGroup(provider, piece, group) => {
                u64::from(self.state.paid_groups.remove(&(provider, piece, group)))
            }
        }
    }

    fn process_transaction(&mut self, signed: &SignedTransaction, signature_valid: bool) -> Outcome {
        let sender = signed.transaction.sender;
        let mut account = self.state.account(&sender);
        if let Err(rejection) = self.state.check_admission(signed, account.nonce) {
            return Outcome::Refused(rejection);
        }
        if !signature_valid {
            return Outcome::Refused(AdmissionRejection::BadSignature { sender });
        }
        account.nonce += 1;
        self.state.accounts.insert(sender, account);
        let fee = self.state.meta.params.transaction_fee;
        self.state.burn_free(sender, fee).expect("admission checked that the fee is there");

        let before = self.state.clone();
        let events_before = self.events.len();
        self.sender = sender;
        match self.execute(&signed.transaction.command) {
            Ok(()) => Outcome::Applied,
            Err(rejection) => {
                *self.state = before;
                self.events.truncate(events_before);
                Outcome::Failed(rejection)
            }
        }
    }

    fn execute(&mut self, command: &Command) -> Result<(), Rejection> {
        match command {
            Command::Transfer { to, amount } => self.transfer(*to, *amount),
            Command::RegisterProvider { sector_size, collateral, endpoint } => {
                self.register_provider(*sector_size, *collateral, endpoint)
            }
            Command::AddCollateral { provider, amount } => self.add_collateral(*provider, *amount),
            Command::WithdrawCollateral { provider, amount } => self.withdraw_collateral(*provider, *amount),
            Command::PlaceOrder(terms) => self.place_order(terms),
            Command::CancelOrder { order } => self.cancel_order(*order),
            Command::PlaceBid { provider, order, price_per_epoch } => {
                self.place_bid(*provider, *order, *price_per_epoch)
            }
            Command::CommitBid { provider, order, commitment } => self.commit_bid(*provider, *order, *commitment),
            Command::RevealBid { provider, order, price_per_epoch, salt } => {
                self.reveal_bid(*provider, *order, *price_per_epoch, salt)
            }
            Command::PreCommit(pre_commit) => self.pre_commit(pre_commit),
            Command::ProveCommit { provider, sector, pieces, proof } => {
                self.prove_commit(*provider, *sector, pieces, proof)
            }
            Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped } => {
                self.submit_window_post((*provider, *deadline, *partition), *challenge_epoch, skipped, proof)
            }
            Command::DeclareFaults { provider, sectors } => self.declare_faults(*provider, sectors),
            Command::DeclareRecovery { provider, sectors } => self.declare_recovery(*provider, sectors),
            Command::Settle { deal } => self.settle(*deal),
            Command::OpenChannel { payee, deposit } => self.open_channel(*payee, *deposit),
            Command::TopUpChannel { channel, amount } => self.top_up_channel(*channel, *amount),
            Command::RedeemVoucher(voucher) => self.redeem_voucher(voucher),
            Command::BindChannel { channel, provider } => self.bind_channel(*channel, *provider),
            Command::StartCloseChannel { channel } => self.start_close_channel(*channel),
            Command::CloseChannel { channel } => self.close_channel(*channel),
            Command::Bond { amount } => self.bond(*amount),
            Command::Unbond { amount } => self.unbond(*amount),
            Command::Market(command) => self.market_command(command),
            Command::Sector(command) => self.sector_command(command),
            Command::Rail(command) => self.rail_command(command),
            Command::Check(command) => self.check_command(command),
            Command::ClaimRewards { provider } => self.claim_rewards(*provider),
            Command::Job(command) => self.carry_out_job(command),
            Command::ReportWrongBytes(evidence) => self.report_wrong_bytes(evidence),
        }
    }

    /// The provider, if the sender owns it.
    fn owned_provider(&self, provider: ProviderId) -> Result<Provider, Rejection> {
        let found = self.state.provider(provider).ok_or(Rejection::UnknownProvider { provider })?;
        if found.owner != self.sender {
            return Err(Rejection::NotOwner { provider, owner: found.owner });
        }
        Ok(found.clone())
    }

    /// The provider, if the sender owns it and it has the collateral to take on more.
    fn committing_provider(&self, provider: ProviderId) -> Result<Provider, Rejection> {
        let found = self.owned_provider(provider)?;
        let needed = self.state.meta.params.collateral_min;
        if found.collateral < needed {
            return Err(Rejection::CollateralTooLow { provider, needed, got: found.collateral });
        }
        Ok(found)
    }

    fn add_obligations(&mut self, provider: ProviderId, count: u64) {
        self.state.providers.update(&provider, |p| p.obligations += count).expect("providers are never removed");
    }

    fn end_obligation(&mut self, provider: ProviderId) {
        self.state
            .providers
            .update(&provider, |p| p.obligations = p.obligations.checked_sub(1).expect("obligations are counted"))
            .expect("providers are never removed");
    }

    fn owner_of(&self, provider: ProviderId) -> Address {
        self.state.provider(provider).expect("providers are never removed").owner
    }

    /// The epoch `count` after `epoch`. Parameters and heights are bounded far below overflow.
    fn later(&self, epoch: Epoch, count: u64) -> Epoch {
        epoch.checked_add(count).expect("epochs stay below 2^63")
    }

    fn retained_until(&self) -> Epoch {
        self.later(self.now(), self.state.meta.params.record_retention)
    }
}

pub(crate) fn in_range(what: &str, got: u64, least: u64, most: u64) -> Result<(), Rejection> {
    if (least..=most).contains(&got) {
        Ok(())
    } else {
        Err(Rejection::OutOfRange { what: what.to_owned(), got, least, most })
    }
}

pub(crate) fn ascending<T: Ord>(what: &str, items: &[T]) -> Result<(), Rejection> {
    if items.windows(2).all(|pair| pair[0] < pair[1]) {
        Ok(())
    } else {
        Err(Rejection::NotAscending { what: what.to_owned() })
    }
}

#[cfg(test)]
mod assignment_tests;
#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod economy_tests;
#[cfg(test)]
mod market_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod sector_tests;
#[cfg(test)]
mod served_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod work_tests;
