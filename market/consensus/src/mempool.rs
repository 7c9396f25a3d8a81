//! Transactions that wait for a block.
//!
//! A sender's transactions enter in nonce order without gaps and leave in the same order, so taking them as they came
//! keeps every sender's order. Nothing enters that could not be in a block if it stood first; whether its command
//! succeeds is decided there.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_ledger::{
    Address, AdmissionRejection, SignedTransaction, State, TransactionId, signatures::verify_signature,
};

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolOptions {
    /// Most transactions; default 10,000.
    pub transactions_max: usize,
    /// Most bytes of transactions; default 64 MiB.
    pub bytes_max: u64,
    /// Most transactions of one sender; default 256.
    pub transactions_per_sender_max: usize,
}

impl Default for MempoolOptions {
    fn default() -> Self {
        Self { transactions_max: 10_000, bytes_max: 64 << 20, transactions_per_sender_max: 256 }
    }
}

/// Why a transaction does not wait for a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitRejection {
    /// It could not be in a block. For a nonce, `expected` counts the sender's waiting transactions.
    #[error(transparent)]
    NotAdmitted(#[from] AdmissionRejection),
    /// The pool is full; try again after a block.
    #[error("the pool is full: {transactions} transactions, {bytes} bytes")]
    PoolFull {
        /// Waiting.
        transactions: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// The sender has too many waiting; try again after a block.
    #[error("{sender} has {waiting} transactions waiting, the most it may have")]
    SenderFull {
        /// Who.
        sender: Address,
        /// How many.
        waiting: usize,
    },
    /// It waits already.
    #[error("transaction {id} waits already")]
    AlreadyWaiting {
        /// Which.
        id: TransactionId,
    },
    /// The node has stopped making blocks.
    #[error("the ledger has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

#[derive(Debug)]
struct Waiting {
    transaction: SignedTransaction,
    id: TransactionId,
    bytes: u64,
}

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    options: MempoolOptions,
    /// By order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    ids: HashSet<TransactionId>,
    counts: HashMap<Address, usize>,
    next_arrival: u64,
    bytes: u64,
}

impl Mempool {
    /// An empty pool.
    pub fn new(options: MempoolOptions) -> Self {
        Self {
            options,
            waiting: BTreeMap::new(),
            ids: HashSet::new(),
            counts: HashMap::new(),
            next_arrival: 0,
            bytes: 0,
        }
    }

    /// Transactions waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether this one waits.
    pub fn is_waiting(&self, id: &TransactionId) -> bool {
        self.ids.contains(id)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this transaction waits.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.ids.contains(id)
    }

    /// Bytes of the waiting transactions.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The nonce that the next transaction of `sender` must carry.
    pub fn next_nonce(&self, state: &State, sender: &Address) -> u64 {
        state.account(sender).nonce + self.waiting_of(sender) as u64
    }

    fn waiting_of(&self, sender: &Address) -> usize {
        self.counts.get(sender).copied().unwrap_or(0)
    }

    /// Whether a transaction may wait, after `state` and what its sender has waiting. Its signature is not looked at.
    ///
    /// # Errors
    /// [`SubmitRejection`] says why not.
    pub fn check(&self, state: &State, transaction: &SignedTransaction) -> Result<(), SubmitRejection> {
        let (id, sender) = (transaction.id(), transaction.transaction.sender);
        if self.ids.contains(&id) {
            return Err(SubmitRejection::AlreadyWaiting { id });
        }
        state.check_admission(transaction, self.next_nonce(state, &sender))?;
        self.check_fees(state, &sender)?;
        let waiting = self.waiting_of(&sender);
        if waiting >= self.options.transactions_per_sender_max {
            return Err(SubmitRejection::SenderFull { sender, waiting });
        }
        let bytes = transaction.encode().len() as u64;
        if self.waiting.len() >= self.options.transactions_max || self.bytes + bytes > self.options.bytes_max {
            return Err(SubmitRejection::PoolFull { transactions: self.waiting.len(), bytes: self.bytes });
        }
        Ok(())
    }

    /// Lets a transaction wait that passed [`Mempool::check`] and carries a valid signature.
    pub fn insert(&mut self, transaction: SignedTransaction) -> TransactionId {
        let (id, sender) = (transaction.id(), transaction.transaction.sender);
        let bytes = transaction.encode().len() as u64;
        self.ids.insert(id);
        *self.counts.entry(sender).or_default() += 1;
        self.bytes += bytes;
        self.waiting.insert(self.next_arrival, Waiting { transaction, id, bytes });
        self.next_arrival += 1;
        id
    }

    /// Lets a transaction wait, if it may follow `state` and what its sender has waiting.
    ///
    /// # Errors
    /// [`SubmitRejection`] says why not; the pool is unchanged.
    pub fn submit(&mut self, state: &State, transaction: SignedTransaction) -> Result<TransactionId, SubmitRejection> {
        self.check(state, &transaction)?;
        if !verify_signature(&transaction) {
            return Err(AdmissionRejection::BadSignature { sender: transaction.transaction.sender }.into());
        }
        Ok(self.insert(transaction))
    }

    /// The sender can pay for this one and all that wait.
    fn check_fees(&self, state: &State, sender: &Address) -> Result<(), AdmissionRejection> {
        let count = self.waiting_of(sender) as u64 + 1;
        let (available, fee) = (state.account(sender).balance, state.params().transaction_fee);
        match fee.checked_mul(count) {
            Some(fees) if fees <= available => Ok(()),
            _ => Err(AdmissionRejection::FeeUnpaid { sender: *sender, fee, available }),
        }
    }

    /// What the next block takes, in order of arrival, within the block's limits. What is too heavy for the rest of the
    /// block waits, with all that its sender sent after it, and lets others pass; it keeps its place, and the first in
    /// line always fits ([`cairn_ledger::work`]).
    pub fn select(&self, state: &State) -> Vec<SignedTransaction> {
        let params = state.params();
        let (mut bytes, mut weight) = (0, 0);
        let mut waits: HashSet<Address> = HashSet::new();
        let fits = self.waiting.values().filter(|waiting| {
            let (sender, heavy) = (waiting.transaction.transaction.sender, state.weight_of(&waiting.transaction));
            if waits.contains(&sender) || weight + heavy > params.block_weight_max {
                waits.insert(sender);
                return false;
            }
            weight += heavy;
            true
        });
        fits.take(params.block_transactions_max as usize)
            .take_while(|waiting| {
                bytes += waiting.bytes;
                bytes <= params.block_bytes_max
            })
            .map(|waiting| waiting.transaction.clone())
            .collect()
    }

    /// Adjusts to a new state: what is in a block leaves, and so does what can no longer enter one, with all of its
    /// sender's that came after.
    pub fn update(&mut self, state: &State) {
        let mut next_nonces: HashMap<Address, u64> = HashMap::new();
        let kept: Vec<Waiting> = std::mem::take(&mut self.waiting)
            .into_values()
            .filter(|waiting| {
                let sender = waiting.transaction.transaction.sender;
                let next = next_nonces.entry(sender).or_insert_with(|| state.account(&sender).nonce);
                let fits = state.check_sender(&waiting.transaction, *next).is_ok();
                *next += u64::from(fits);
                fits
            })
            .collect();
        *self = Self { next_arrival: self.next_arrival, ..Self::new(self.options) };
        for waiting in kept {
            self.ids.insert(waiting.id);
            *self.counts.entry(waiting.transaction.transaction.sender).or_default() += 1;
            self.bytes += waiting.bytes;
            self.waiting.insert(self.next_arrival, waiting);
            self.next_arrival += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::testing::{HashVerifier, Network};
    use cairn_ledger::work::HEAVIEST;
    use cairn_ledger::{BlockRejection, Command, LedgerParams};
    use cairn_protocol::{Amount, ProviderId, SectorNumber};

    use super::*;

    fn transfer(to: u8) -> Command {
        Command::Transfer { to: Network::address(to), amount: Amount(5) }
    }

    fn pool(options: MempoolOptions) -> (Network, Mempool) {
        (Network::new(LedgerParams::devnet(), 3), Mempool::new(options))
    }

    #[test]
    fn takes_nonces_in_order_and_refuses_the_rest() {
        let (network, mut pool) = pool(MempoolOptions::default());
        let first = network.transaction(1, 0, transfer(2));
        let id = pool.submit(&network.state, first.clone()).unwrap();
        assert_eq!(pool.submit(&network.state, first.clone()), Err(SubmitRejection::AlreadyWaiting { id }));
        let gap = network.transaction(1, 2, transfer(2));
        assert!(matches!(
            pool.submit(&network.state, gap),
            Err(SubmitRejection::NotAdmitted(AdmissionRejection::WrongNonce { expected: 1, got: 2, .. }))
        ));
        let taken = network.transaction(1, 0, transfer(3));
        assert!(matches!(pool.submit(&network.state, taken), Err(SubmitRejection::NotAdmitted(_))));
        let mut forged = network.transaction(1, 1, transfer(2));
        forged.signature.0[0] ^= 1;
        assert!(matches!(
            pool.submit(&network.state, forged),
            Err(SubmitRejection::NotAdmitted(AdmissionRejection::BadSignature { .. }))
        ));
        let stranger = network.transaction(9, 0, transfer(2));
        assert!(matches!(
            pool.submit(&network.state, stranger),
            Err(SubmitRejection::NotAdmitted(AdmissionRejection::UnknownSender { .. }))
        ));
        pool.submit(&network.state, network.transaction(1, 1, transfer(2))).unwrap();
        assert_eq!((pool.len(), pool.next_nonce(&network.state, &Network::address(1))), (2, 2));
    }

    #[test]
    fn is_bounded() {
        let options = MempoolOptions { transactions_max: 3, transactions_per_sender_max: 2, ..Default::default() };
        let (network, mut pool) = pool(options);
        for ahead in 0..2 {
            pool.submit(&network.state, network.transaction(1, ahead, transfer(2))).unwrap();
        }
        let third = network.transaction(1, 2, transfer(2));
        assert!(matches!(pool.submit(&network.state, third), Err(SubmitRejection::SenderFull { waiting: 2, .. })));
        pool.submit(&network.state, network.transaction(2, 0, transfer(1))).unwrap();
        let fourth = network.transaction(3, 0, transfer(1));
        assert!(matches!(pool.submit(&network.state, fourth), Err(SubmitRejection::PoolFull { transactions: 3, .. })));
    }

    /// Declarations of faults: they weigh what they name, and need not succeed.
    #[test]
    fn what_is_too_heavy_waits_and_keeps_its_place() {
        let params = LedgerParams { block_weight_max: HEAVIEST, ..LedgerParams::devnet() };
        let network = Network::new(params, 4);
        let mut pool = Mempool::new(MempoolOptions::default());
        let heavy = |sender, ahead, sectors: u64| {
            let sectors = (0..sectors).map(SectorNumber).collect();
            network.transaction(sender, ahead, Command::DeclareFaults { provider: ProviderId(1), sectors })
        };
        let sent = [
            heavy(1, 0, HEAVIEST - 10),
            heavy(2, 0, 11),
            network.transaction(2, 1, transfer(1)),
            network.transaction(3, 0, transfer(1)),
            heavy(3, 1, 10),
        ];
        // The weight is the ledger's affair; the size of this story's declarations is not the point.
        for transaction in &sent {
            pool.insert(transaction.clone());
        }
        let selected = pool.select(&network.state);
        assert_eq!(
            selected,
            [0, 3, 4].map(|n: usize| sent[n].clone()),
            "neither what is too heavy nor what follows it"
        );
        let mut after = network.state.clone();
        after.apply_block(&network.next_context(), &selected, &HashVerifier).unwrap();
        pool.update(&after);
        assert_eq!(pool.select(&after), sent[1..3], "it is first in the next block");
        let all = network.state.clone().apply_block(&network.next_context(), &sent, &HashVerifier);
        assert!(matches!(all, Err(BlockRejection::TooHeavy { .. })), "{all:?}");
    }

    #[test]
    fn a_block_empties_it_and_stale_ones_leave() {
        let (mut network, mut pool) = pool(MempoolOptions::default());
        for ahead in 0..3 {
            pool.submit(&network.state, network.transaction(1, ahead, transfer(2))).unwrap();
        }
        let selected = pool.select(&network.state);
        network.block(&selected[..2]);
        pool.update(&network.state);
        assert_eq!((pool.len(), pool.bytes()), (1, selected[2].encode().len() as u64));
        // Another transaction with the waiting one's nonce comes in by another way.
        network.command(1, transfer(3));
        pool.update(&network.state);
        assert_eq!((pool.len(), pool.bytes()), (0, 0));
        assert!(pool.is_empty());
    }
}
