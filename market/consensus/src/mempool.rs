//! Transactions that wait for a block.
//!
//! A sender's transactions enter in nonce order without gaps and leave in the same order. Nothing enters that could not be
//! in a block if it stood first; whether its command succeeds is decided there. So the pool cannot know which proofs are
//! wrong, and must not let those who send wrong ones keep the others out:
//!
//! 1. *Turns.* A transaction's turn is the clock's when its sender has nothing waiting, otherwise one transaction's cost
//!    after the turn of the sender's last. Blocks are filled by turn, then by arrival. The cost is the part of a block that it
//!    takes: of its places, bytes or weight, whichever is most. So in each block everybody's first comes before anybody's
//!    second, and who sends a hundred heavy proofs stands behind those who send one, when these came later, too.
//! 2. *Room.* What comes to a full pool takes the place of the last in line, if its own turn is earlier: who has the most
//!    waiting loses its last transaction.
//! 3. *Reserve.* A quarter of the pool is for proofs that their sender owes ([`State::carries_owed_proof`]): many accounts
//!    with a transaction each are cheap, many sectors at stake are not.
//!
//! The clock is the turn of the latest transaction that was in a block, and goes on a little with every block, so that
//! whoever waits is overtaken for a bounded number of blocks only ([`CLOCK_STEP`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_ledger::{
    Address, AdmissionRejection, SignedTransaction, State, TransactionId, signatures::verify_signature,
};

/// What a whole block costs: the cost of a transaction is its part of this.
const BLOCK_COST: u64 = 1 << 20;
/// What the clock goes on in a block at least. A sender whose waiting transactions would fill `n` blocks by themselves is
/// overtaken by newcomers in no more than `256 x n` blocks.
const CLOCK_STEP: u64 = BLOCK_COST / 256;

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolOptions {
    /// Most transactions, a quarter of them for owed proofs; default 10,000.
    pub transactions_max: usize,
    /// Most bytes of transactions, a quarter of them for owed proofs; default 64 MiB.
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

/// Where a transaction stands in line: its turn, then its arrival.
type Place = (u64, u64);

/// What a sender has waiting.
#[derive(Debug, Clone, Copy, Default)]
struct Queue {
    count: usize,
    /// The turn after its last.
    end: u64,
}

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    options: MempoolOptions,
    waiting: BTreeMap<Place, Waiting>,
    ids: HashSet<TransactionId>,
    queues: HashMap<Address, Queue>,
    next_arrival: u64,
    bytes: u64,
    clock: u64,
}

impl Mempool {
    /// An empty pool.
    pub fn new(options: MempoolOptions) -> Self {
        Self {
            options,
            waiting: BTreeMap::new(),
            ids: HashSet::new(),
            queues: HashMap::new(),
            next_arrival: 0,
            bytes: 0,
            clock: 0,
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
        self.queues.get(sender).map_or(0, |queue| queue.count)
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
        match self.makes_room(state, transaction) {
            Some(_) => Ok(()),
            None => Err(SubmitRejection::PoolFull { transactions: self.waiting.len(), bytes: self.bytes }),
        }
    }

    /// Lets a transaction wait that passed [`Mempool::check`] with this state and carries a valid signature. Those that it
    /// takes the places of leave.
    pub fn insert(&mut self, state: &State, transaction: SignedTransaction) -> TransactionId {
        let (id, sender) = (transaction.id(), transaction.transaction.sender);
        for place in self.makes_room(state, &transaction).unwrap_or_default() {
            self.remove(place);
        }
        let bytes = transaction.encode().len() as u64;
        let turn = self.turn_of(&sender);
        let queue = self.queues.entry(sender).or_default();
        *queue = Queue { count: queue.count + 1, end: turn.saturating_add(cost(state, &transaction, bytes)) };
        self.ids.insert(id);
        self.bytes += bytes;
        self.waiting.insert((turn, self.next_arrival), Waiting { transaction, id, bytes });
        self.next_arrival += 1;
        id
    }

    /// The turn of a sender's next transaction.
    fn turn_of(&self, sender: &Address) -> u64 {
        self.queues.get(sender).map_or(self.clock, |queue| queue.end.max(self.clock))
    }

    /// Rules 2 and 3 of the module: who has to leave for a transaction, if it may come in.
    fn makes_room(&self, state: &State, transaction: &SignedTransaction) -> Option<Vec<Place>> {
        let MempoolOptions { mut transactions_max, mut bytes_max, .. } = self.options;
        if !state.carries_owed_proof(transaction) {
            (transactions_max, bytes_max) = (transactions_max - transactions_max / 4, bytes_max - bytes_max / 4);
        }
        let sender = transaction.transaction.sender;
        let (turn, own) = (self.turn_of(&sender), transaction.encode().len() as u64);
        let (mut transactions, mut bytes, mut leaving) = (self.waiting.len(), self.bytes, Vec::new());
        let mut last = self.waiting.iter().rev().take_while(|((place, _), _)| *place > turn);
        while transactions >= transactions_max || bytes + own > bytes_max {
            // The latest of all is the last of its sender, so nothing that follows it is left behind.
            let (place, waiting) = last.next()?;
            (transactions, bytes) = (transactions - 1, bytes - waiting.bytes);
            leaving.push(*place);
        }
        Some(leaving)
    }

    /// Takes out the last transaction of a sender.
    fn remove(&mut self, place: Place) {
        let Some(waiting) = self.waiting.remove(&place) else { return };
        self.ids.remove(&waiting.id);
        self.bytes -= waiting.bytes;
        let sender = waiting.transaction.transaction.sender;
        if let Some(queue) = self.queues.get_mut(&sender) {
            *queue = Queue { count: queue.count - 1, end: place.0 };
            if queue.count == 0 {
                self.queues.remove(&sender);
            }
        }
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
        Ok(self.insert(state, transaction))
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

    /// What the next block takes, by turn, within the block's limits. What is too heavy for the rest of the
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
        let before = std::mem::replace(self, Self::new(self.options));
        (self.next_arrival, self.clock) = (before.next_arrival, before.clock.saturating_add(CLOCK_STEP));
        for (place, waiting) in before.waiting {
            let (sender, nonce) = (waiting.transaction.transaction.sender, waiting.transaction.transaction.nonce);
            let next = next_nonces.entry(sender).or_insert_with(|| state.account(&sender).nonce);
            if nonce < *next {
                self.clock = self.clock.max(place.0);
            } else if state.check_sender(&waiting.transaction, *next).is_ok() {
                *next += 1;
                let queue = self.queues.entry(sender).or_default();
                let end = place.0.saturating_add(cost(state, &waiting.transaction, waiting.bytes));
                *queue = Queue { count: queue.count + 1, end };
                self.ids.insert(waiting.id);
                self.bytes += waiting.bytes;
                self.waiting.insert(place, waiting);
            }
        }
    }
}

/// What a transaction takes of a block, at least something.
fn cost(state: &State, transaction: &SignedTransaction, bytes: u64) -> u64 {
    let params = state.params();
    let part = |of: u64, whole: u64| of.saturating_mul(BLOCK_COST) / whole.max(1);
    let weight = part(state.weight_of(transaction), params.block_weight_max);
    part(1, params.block_transactions_max.into()).max(part(bytes, params.block_bytes_max)).max(weight).max(1)
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
        let network = Network::new(LedgerParams::devnet(), 5);
        let mut pool = Mempool::new(options);
        for ahead in 0..2 {
            pool.submit(&network.state, network.transaction(1, ahead, transfer(2))).unwrap();
        }
        let third = network.transaction(1, 2, transfer(2));
        assert!(matches!(pool.submit(&network.state, third), Err(SubmitRejection::SenderFull { waiting: 2, .. })));
        pool.submit(&network.state, network.transaction(2, 0, transfer(1))).unwrap();
        // A second one is nobody's turn before a first one.
        let second = network.transaction(2, 1, transfer(1));
        assert!(matches!(pool.submit(&network.state, second), Err(SubmitRejection::PoolFull { transactions: 3, .. })));
        pool.submit(&network.state, network.transaction(3, 0, transfer(1))).unwrap();
        assert_eq!((pool.len(), pool.waiting_of(&Network::address(1))), (3, 1), "who had two lost the second");
        let fourth = network.transaction(4, 0, transfer(1));
        assert!(matches!(pool.submit(&network.state, fourth), Err(SubmitRejection::PoolFull { transactions: 3, .. })));
        let bytes = pool.select(&network.state).iter().map(|taken| taken.encode().len() as u64).sum::<u64>();
        assert_eq!(pool.bytes(), bytes);
    }

    #[test]
    fn bytes_make_room_too() {
        let (network, mut pool) = pool(MempoolOptions::default());
        let sent: Vec<_> = (0..3).map(|ahead| network.transaction(1, ahead, transfer(2))).collect();
        let one = sent[0].encode().len() as u64;
        pool.options.bytes_max = 4 * one;
        for transaction in sent {
            pool.submit(&network.state, transaction).unwrap();
        }
        let other = network.transaction(2, 0, transfer(1));
        pool.submit(&network.state, other.clone()).unwrap();
        assert_eq!((pool.len(), pool.bytes()), (3, 3 * one), "a quarter stays free for owed proofs");
        assert_eq!(pool.select(&network.state)[1], other);
    }

    /// Declarations of faults: they weigh what they name, and need not succeed.
    #[test]
    fn what_is_too_heavy_waits_and_keeps_its_place() {
        let params = LedgerParams { block_weight_max: HEAVIEST, ..LedgerParams::devnet() };
        let mut network = Network::new(params, 4);
        let providers = [1, 2, 3].map(|owner| network.register(owner));
        let mut pool = Mempool::new(MempoolOptions::default());
        let heavy = |sender: u8, ahead, sectors: u64| {
            let sectors = (0..sectors).map(SectorNumber).collect();
            let provider = providers[usize::from(sender) - 1];
            network.transaction(sender, ahead, Command::DeclareFaults { provider, sectors })
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
            pool.insert(&network.state, transaction.clone());
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

    /// A network whose accounts 1 and 2 have a provider with a sector that waits for its proof, and the two providers.
    fn two_that_owe_proofs(params: LedgerParams, accounts: u8) -> (Network, [ProviderId; 2]) {
        let mut network = Network::new(params, accounts);
        let providers = [1, 2].map(|owner| {
            let provider = network.register(owner);
            network.command(owner, Command::PreCommit(network.pre_commit(provider, 1, &[])));
            provider
        });
        network.advance_to(cairn_protocol::Epoch(network.state.epoch().0 + network.state.params().challenge_delay));
        (network, providers)
    }

    fn wrong(command: Command) -> Command {
        match command {
            Command::ProveCommit { provider, sector, pieces, .. } => {
                Command::ProveCommit { provider, sector, pieces, proof: vec![7; 192] }
            }
            other => other,
        }
    }

    /// Blocks were filled in order of arrival, and a full pool took nothing: one sector at stake was enough to keep everybody
    /// else's proofs out for as many blocks as the pool holds.
    #[test]
    fn a_pool_full_of_wrong_proofs_keeps_nobody_out() {
        let params = LedgerParams { block_transactions_max: 3, ..LedgerParams::devnet() };
        let (mut network, [bad, good]) = two_that_owe_proofs(params, 3);
        let mut pool = Mempool::new(MempoolOptions { transactions_max: 16, ..Default::default() });
        let wrong = wrong(network.prove_commit(bad, 1, &[]));
        for ahead in 0..16 {
            pool.submit(&network.state, network.transaction(1, ahead, wrong.clone())).unwrap();
        }
        let full = network.transaction(1, 16, wrong.clone());
        assert!(matches!(pool.submit(&network.state, full), Err(SubmitRejection::PoolFull { transactions: 16, .. })));
        let proof = network.transaction(2, 0, network.prove_commit(good, 1, &[]));
        pool.submit(&network.state, proof.clone()).unwrap();
        let paid = network.transaction(3, 0, transfer(2));
        pool.submit(&network.state, paid.clone()).unwrap();

        let block = pool.select(&network.state);
        assert_eq!(block, [network.transaction(1, 0, wrong), proof, paid], "everybody's first");
        let before = network.state.account(&Network::address(1)).balance;
        network.block(&block);
        let sector = network.state.sector(good, SectorNumber(1)).unwrap();
        assert!(sector.proving().is_some(), "the honest proof is taken");
        let fee = network.state.params().transaction_fee;
        let after = network.state.account(&Network::address(1)).balance;
        assert_eq!(before.checked_sub(after), Some(fee), "a wrong one costs its fee");

        // Who comes later still comes before what was sent in heaps.
        pool.update(&network.state);
        let late = network.transaction(3, 0, transfer(1));
        pool.submit(&network.state, late.clone()).unwrap();
        assert!(pool.select(&network.state)[..2].contains(&late));
    }

    #[test]
    fn a_quarter_of_the_pool_is_for_owed_proofs() {
        let (network, [_, good]) = two_that_owe_proofs(LedgerParams::devnet(), 12);
        let mut pool = Mempool::new(MempoolOptions { transactions_max: 8, ..Default::default() });
        for sender in 3..9 {
            pool.submit(&network.state, network.transaction(sender, 0, transfer(1))).unwrap();
        }
        let proof = network.prove_commit(good, 1, &[]);
        let others = [network.transaction(9, 0, transfer(1)), network.transaction(10, 0, proof.clone())];
        for refused in others {
            assert_eq!(network.state.weight_of(&refused), 0, "somebody else's proof is nothing to look at");
            assert!(matches!(pool.submit(&network.state, refused), Err(SubmitRejection::PoolFull { .. })));
        }
        pool.submit(&network.state, network.transaction(2, 0, proof)).unwrap();
        assert_eq!(pool.len(), 7);
    }

    /// The clock goes on by itself: newcomers do not pass for ever one that waits.
    #[test]
    fn who_waits_is_overtaken_for_a_bounded_number_of_blocks() {
        let params = LedgerParams { block_transactions_max: 1, ..LedgerParams::devnet() };
        let network = Network::new(params, 2);
        let senders_after = |blocks: u32| {
            let mut pool = Mempool::new(MempoolOptions::default());
            for ahead in 0..2 {
                pool.submit(&network.state, network.transaction(1, ahead, transfer(2))).unwrap();
            }
            (0..blocks).for_each(|_| pool.update(&network.state));
            pool.submit(&network.state, network.transaction(2, 0, transfer(1))).unwrap();
            let senders = pool.waiting.into_values().map(|waiting| waiting.transaction.transaction.sender);
            senders.map(|sender| if sender == Network::address(1) { 1 } else { 2 }).collect::<Vec<_>>()
        };
        assert_eq!(senders_after(255), [1, 2, 1]);
        assert_eq!(senders_after(256), [1, 1, 2], "the second would fill one block by itself");
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
