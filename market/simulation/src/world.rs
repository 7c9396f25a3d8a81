//! Accounts with keys, what everybody can see, and the transactions that are offered to the next block.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::payments::ChannelId;
use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{
    Address, BlockContext, BlockOutcome, BlockRejection, Command, DealId, Event, LedgerParams, OrderId, ProofStatement,
    ProofVerifier, SignatureBytes, SignedTransaction, State, Transaction, address_of,
};
use cairn_protocol::{Epoch, ProviderId, SectorNumber};
use ed25519_consensus::SigningKey;

/// Number of an account in the simulation.
pub type AccountIndex = usize;

/// A key and its address.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Signs.
    pub key: SigningKey,
    /// Is named by it.
    pub address: Address,
}

impl KeyPair {
    /// The key of account `index`; the same in every run.
    pub fn of(index: AccountIndex) -> Self {
        let mut secret = [0x5e; 32];
        secret[..8].copy_from_slice(&(index as u64).to_le_bytes());
        let key = SigningKey::from(secret);
        Self { address: address_of(&key), key }
    }
}

/// What must not succeed, whatever the ledger's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crime {
    /// A signature that is not the sender's.
    ForgedSignature,
    /// A transaction that was in a block before.
    Replay,
    /// Signed for another network.
    WrongChain,
    /// A second transaction with a used nonce: the same money spent twice.
    SpentTwice,
    /// More than all money there is.
    Overspent,
    /// A proof that proves nothing, or something else.
    WrongProof,
    /// In the name of somebody else's order, provider or channel.
    NotTheOwner,
    /// A voucher that is redeemed already.
    VoucherReplayed,
    /// A voucher that the payer did not sign.
    VoucherForged,
    /// Receipts that do not contradict each other, bytes that are right, or what the accused did not sign.
    FalseAccusation,
}

impl Crime {
    /// Whether it must not even enter a block, because the transaction itself is false.
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::ForgedSignature | Self::Replay | Self::WrongChain | Self::SpentTwice)
    }
}

/// A transaction offered to a block, and whether its author knows it to be a crime.
#[derive(Debug, Clone)]
pub struct Offer {
    /// As it travels.
    pub signed: SignedTransaction,
    /// What is wrong with it, if something is.
    pub crime: Option<Crime>,
}

/// What a bidder must remember to reveal a bid.
#[derive(Debug, Clone, Copy)]
pub struct OpenSector {
    /// Epoch of the seed.
    pub seed_epoch: Epoch,
}

/// What everybody can know from the events: an index, so that nobody has to search the state.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Orders that take bids, and until when.
    pub open_orders: BTreeMap<OrderId, Epoch>,
    /// Who owns which provider.
    pub owners: BTreeMap<ProviderId, Address>,
    /// Deals that wait to be sealed, by provider.
    pub assigned: BTreeMap<ProviderId, BTreeSet<DealId>>,
    /// Sectors that wait for a proof.
    pub pre_committed: BTreeMap<(ProviderId, SectorNumber), Epoch>,
    /// Sectors that are proven once a period.
    pub live: BTreeMap<ProviderId, BTreeSet<SectorNumber>>,
    /// Those of them that are faulty.
    pub faulty: BTreeMap<ProviderId, BTreeSet<SectorNumber>>,
    /// Deals that are paid.
    pub active_deals: Vec<DealId>,
    /// Open channels: payer and payee.
    pub channels: BTreeMap<ChannelId, (Address, Address)>,
}

impl Board {
    /// Takes note of a block's events.
    pub fn read(&mut self, events: &[Event]) {
        for event in events {
            self.read_market(event);
            self.read_sectors(event);
        }
    }

    fn read_market(&mut self, event: &Event) {
        match *event {
            Event::ProviderRegistered { provider, owner } => drop(self.owners.insert(provider, owner)),
            Event::OrderPlaced { order, bids_close_at, .. } => drop(self.open_orders.insert(order, bids_close_at)),
            Event::OrderMatched { order, .. } | Event::OrderClosed { order, .. } => {
                self.open_orders.remove(&order);
            }
            Event::DealAssigned { deal, provider, .. } => {
                self.assigned.entry(provider).or_default().insert(deal);
            }
            Event::DealActivated { deal, provider, .. } => {
                self.assigned.entry(provider).or_default().remove(&deal);
                self.active_deals.push(deal);
            }
            Event::DealClosed { deal, .. } => {
                for deals in self.assigned.values_mut() {
                    deals.remove(&deal);
                }
                self.active_deals.retain(|active| *active != deal);
            }
            Event::ChannelOpened { channel, payer, payee, .. } => drop(self.channels.insert(channel, (payer, payee))),
            Event::ChannelClosed { channel, .. } => drop(self.channels.remove(&channel)),
            _ => {}
        }
    }

    fn read_sectors(&mut self, event: &Event) {
        match *event {
            Event::SectorPreCommitted { provider, sector, seed_epoch, .. } => {
                self.pre_committed.insert((provider, sector), seed_epoch);
            }
            Event::SectorActivated { provider, sector, .. } => {
                self.pre_committed.remove(&(provider, sector));
                self.live.entry(provider).or_default().insert(sector);
            }
            Event::SectorFaulted { provider, sector, .. } => {
                self.faulty.entry(provider).or_default().insert(sector);
            }
            Event::RecoveryDeclared { provider, sector } | Event::SectorRecovered { provider, sector } => {
                self.faulty.entry(provider).or_default().remove(&sector);
            }
            Event::SectorClosed { provider, sector, .. } => {
                self.pre_committed.remove(&(provider, sector));
                self.live.entry(provider).or_default().remove(&sector);
                self.faulty.entry(provider).or_default().remove(&sector);
            }
            _ => {}
        }
    }
}

/// What an actor sees when it is asked what to do.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The state after the last block.
    pub state: &'a State,
    /// The index of it.
    pub board: &'a Board,
    /// All accounts.
    pub keys: &'a [KeyPair],
    /// Transactions of past blocks, applied or not.
    pub past: &'a [SignedTransaction],
}

impl View<'_> {
    /// The epoch of the block that is being made.
    pub fn next_epoch(&self) -> Epoch {
        Epoch(self.state.epoch().0 + 1)
    }

    /// The network's numbers.
    pub fn params(&self) -> &LedgerParams {
        self.state.params()
    }
}

/// The block that is being filled.
#[derive(Debug)]
pub struct Offers<'a> {
    view: View<'a>,
    sent: BTreeMap<Address, u64>,
    /// What was offered so far, in order.
    pub list: Vec<Offer>,
}

impl<'a> Offers<'a> {
    /// An empty block.
    pub fn new(view: View<'a>) -> Self {
        Self { view, sent: BTreeMap::new(), list: Vec::new() }
    }

    /// The nonce that the account's next transaction needs.
    pub fn next_nonce(&self, account: AccountIndex) -> u64 {
        let address = self.view.keys[account].address;
        self.view.state.account(&address).nonce + self.sent.get(&address).copied().unwrap_or(0)
    }

    /// Offers a command that may succeed or fail.
    pub fn command(&mut self, account: AccountIndex, command: Command) {
        self.offer(account, command, None);
    }

    /// Offers a command that must fail.
    pub fn crime(&mut self, account: AccountIndex, command: Command, crime: Crime) {
        self.offer(account, command, Some(crime));
    }

    fn offer(&mut self, account: AccountIndex, command: Command, crime: Option<Crime>) {
        let signed = self.signed(account, self.next_nonce(account), command);
        *self.sent.entry(signed.transaction.sender).or_default() += 1;
        self.list.push(Offer { signed, crime });
    }

    /// A transaction of the account, not offered yet.
    pub fn signed(&self, account: AccountIndex, nonce: u64, command: Command) -> SignedTransaction {
        let KeyPair { key, address } = &self.view.keys[account];
        Transaction { chain: self.view.state.chain(), sender: *address, nonce, command }.sign(key)
    }

    /// Offers a transaction as it is; it must be refused, so it uses no nonce.
    pub fn raw(&mut self, signed: SignedTransaction, crime: Crime) {
        assert!(crime.is_refused(), "a transaction that uses a nonce is offered as a command");
        self.list.push(Offer { signed, crime: Some(crime) });
    }
}

/// The validator that was caught at signing two things since the last block, if one was: the beacon decides, so that a
/// replay finds the same. Some are caught again, some too late.
pub fn offence_of(before: &State, context: &BlockContext) -> Option<(Address, Epoch)> {
    let [chance, who, age, again, ..] = context.beacon.0;
    if chance >= 12 {
        return None;
    }
    let validators: Vec<Address> = before.validators().map(|(address, _)| address).collect();
    let validator = *validators.get(usize::from(who) % validators.len().max(1))?;
    let age =
        if again < 64 { before.epoch().0 % 8 } else { u64::from(age) % (before.params().stake.unbonding_epochs + 4) };
    Some((validator, Epoch(before.epoch().0.checked_sub(age)?)))
}

/// What a validator does with a block: punishes who was caught, then applies the transactions.
///
/// # Errors
/// [`BlockRejection`]; the state is unchanged.
pub fn apply(
    state: &mut State,
    context: &BlockContext,
    transactions: &[SignedTransaction],
    verifier: &dyn ProofVerifier,
) -> Result<BlockOutcome, BlockRejection> {
    let mut next = state.clone();
    let offence = offence_of(state, context);
    // One that is too old, known already, or of the last validator has no effect.
    let slashed = offence.and_then(|(validator, height)| next.slash(validator, height).ok());
    let mut outcome = next.apply_block(context, transactions, verifier)?;
    outcome.events.splice(0..0, slashed);
    *state = next;
    Ok(outcome)
}

/// `signed` with one bit of its signature the other way.
pub fn with_forged_signature(mut signed: SignedTransaction, bit: u64) -> SignedTransaction {
    let SignatureBytes(bytes) = &mut signed.signature;
    bytes[(bit / 8 % 64) as usize] ^= 1 << (bit % 8);
    signed
}

/// A proof of a job that the simulated network accepts.
pub fn true_proof_of_any(statement: &ProofStatement) -> Vec<u8> {
    match statement {
        ProofStatement::Porep(statement) => true_proof(statement),
        ProofStatement::WindowPost(statement) => true_proof(statement),
        ProofStatement::SectorUpdate(statement) => true_proof(statement),
    }
}

/// A proof that the simulated network accepts.
pub fn true_proof<T: serde::Serialize>(statement: &T) -> Vec<u8> {
    HashVerifier::proof_of(statement)
}
