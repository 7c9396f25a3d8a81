//! Providers: they bid, seal, prove and are paid. What goes wrong with them is a matter of [`Habits`].

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::payments::Voucher;
use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{
    BidStatus, Command, DealId, DealStatus, JobCommand, JobStatus, JobTerms, ManifestPiece, MarketCommand, OrderId,
    PreCommit, ProofStatement, ProofVerifier, Salt, SealedBid, SectorCommand, SectorJob, SectorUpdate,
    SectorUpdateStatement,
};
use cairn_protocol::{Amount, CommR, Epoch, PieceInfo, ProviderId, SealProof, SectorNumber, SectorSize};

use super::Actor;
use super::auditors::some_attributes;
use super::jobs::terms;
use crate::random::Random;
use crate::world::{AccountIndex, Crime, Offers, View, true_proof};

/// How often something goes wrong, in thousandths per block or per occasion.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Sleeps for a while, and misses what falls into it.
    pub sleeps: u64,
    /// Loses a sector.
    pub loses: u64,
    /// Lets a won deal or a pre-committed sector lie.
    pub drops: u64,
    /// Does not reveal a sealed bid.
    pub hides: u64,
    /// Sends a proof that proves nothing.
    pub lies: u64,
    /// Gives all its free money away.
    pub drains: u64,
    /// Has window proofs and updates made by whoever takes the job.
    pub hires: u64,
}

impl Habits {
    /// Everybody's, by name.
    pub fn all() -> Vec<(&'static str, Self)> {
        let good = Self::default();
        vec![
            ("provider-1", good),
            ("provider-2", good),
            ("provider-3", good),
            ("sleeper", Self { sleeps: 15, ..good }),
            ("loser-of-sectors", Self { loses: 15, ..good }),
            ("dropper-of-deals", Self { drops: 400, ..good }),
            ("hider-of-bids", Self { hides: 600, ..good }),
            ("liar", Self { lies: 300, ..good }),
            ("dry-account", Self { drains: 10, ..good }),
            ("hirer", Self { hires: 1_000, ..good }),
        ]
    }
}

/// A provider's owner.
pub struct ProviderActor {
    name: &'static str,
    account: AccountIndex,
    habits: Habits,
    provider: Option<ProviderId>,
    next_sector: u64,
    asleep_until: Epoch,
    lost: BTreeSet<SectorNumber>,
    sealed: BTreeMap<OrderId, Amount>,
    /// An update whose proof somebody else shall make.
    posted: Option<(SectorUpdate, SectorUpdateStatement)>,
}

const DEALS_PER_SECTOR: usize = 4;
const BIDS_PER_BLOCK: usize = 3;

impl ProviderActor {
    pub(super) fn new(name: &'static str, account: AccountIndex, habits: Habits) -> Self {
        Self {
            name,
            account,
            habits,
            provider: None,
            next_sector: 1,
            asleep_until: Epoch(0),
            lost: BTreeSet::new(),
            sealed: BTreeMap::new(),
            posted: None,
        }
    }

    fn salt(&self) -> Salt {
        Salt([self.account as u8; 32])
    }

    fn register(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let own = view.keys[self.account].address;
        self.provider = view.board.owners.iter().find(|(_, owner)| **owner == own).map(|(provider, _)| *provider);
        if self.provider.is_none() && random.chance(300) {
            let sector_size = [SectorSize::MIB8, SectorSize::MIB8, SectorSize::GIB32][random.below(3) as usize];
            let collateral = Amount(view.params().collateral_min.0 * random.between(1, 10));
            let endpoint = format!("http://{}.test/", self.name);
            offers.command(self.account, Command::RegisterProvider { sector_size, collateral, endpoint });
        }
    }

    fn bid(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let open = view.board.open_orders.iter().filter(|(_, until)| view.next_epoch() < **until);
        let open = open.filter(|(order, _)| view.state.bid(**order, provider).is_none());
        let mut bids = 0;
        for (&order, _) in open {
            let Some(record) = view.state.order(order) else { continue };
            if bids == BIDS_PER_BLOCK || !random.chance(250) {
                continue;
            }
            bids += 1;
            let price_per_epoch = Amount(random.between(0, record.terms.price_per_epoch_max.0));
            if random.chance(if self.habits.hides > 0 { 900 } else { 400 }) {
                let bid = SealedBid { order, provider, price_per_epoch };
                let commitment = bid.commitment(view.state.chain(), view.keys[self.account].address, &self.salt());
                self.sealed.insert(order, price_per_epoch);
                offers.command(self.account, Command::CommitBid { provider, order, commitment });
            } else {
                offers.command(self.account, Command::PlaceBid { provider, order, price_per_epoch });
            }
        }
    }

    fn reveal(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let (next, salt) = (view.next_epoch(), self.salt());
        self.sealed.retain(|order, _| view.state.order(*order).is_some_and(|record| next < record.reveals_close_at));
        for (&order, &price_per_epoch) in &self.sealed {
            let opens_at = view.state.order(order).map(|record| record.bids_close_at);
            let sealed = view.state.bid(order, provider);
            let sealed = sealed.is_some_and(|bid| matches!(bid.status, BidStatus::Sealed { .. }));
            if sealed && opens_at.is_some_and(|at| next >= at) && !hidden(order, self.habits.hides) {
                // A price that was not committed to fails, and the right one still counts.
                let shown = if random.chance(50) { Amount(price_per_epoch.0 + 1) } else { price_per_epoch };
                offers.command(self.account, Command::RevealBid { provider, order, price_per_epoch: shown, salt });
            }
        }
    }

    fn pre_commit(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let Some(size) = view.state.provider(provider).map(|record| record.sector_size) else { return };
        let mut room = size.bytes();
        let mut deals = Vec::new();
        let mut longest = view.params().deal_epochs_min;
        for &deal in view.board.assigned.get(&provider).into_iter().flatten() {
            let Some(record) = view.state.deal(deal) else { continue };
            let fits = record.piece.piece.size.0 <= room && deals.len() < DEALS_PER_SECTOR;
            if fits && matches!(record.status, DealStatus::Assigned { .. }) && !hidden(deal, self.habits.drops) {
                room -= record.piece.piece.size.0;
                longest = longest.max(record.duration_epochs);
                deals.push(deal);
            }
        }
        if view.state.epoch().0 == 0 || !random.chance(if deals.is_empty() { 15 } else { 500 }) {
            return;
        }
        let sector = SectorNumber(self.next_sector);
        self.next_sector += 1;
        let pieces: Vec<PieceInfo> = manifest(view, &deals).iter().map(|entry| entry.piece).collect();
        // An empty one lives longer, so that a deal fits into it later.
        let longest = if deals.is_empty() { longest + 250 } else { longest };
        let life = view.params().sector_epochs_min(longest) + random.below(view.params().proving_period());
        offers.command(
            self.account,
            Command::PreCommit(PreCommit {
                provider,
                sector,
                seal_proof: SealProof::V1_1,
                comm_r: CommR(random.bytes32()),
                comm_d: HashVerifier.comm_d(size, &pieces).expect("the pieces fit"),
                ticket_epoch: view.state.epoch(),
                expiration: Epoch(view.next_epoch().0 + life),
                deals,
            }),
        );
    }

    fn prove_commit(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let waiting = view.board.pre_committed.range((provider, SectorNumber(0))..);
        for (&(_, sector), &seed_epoch) in waiting.take_while(|((other, _), _)| *other == provider) {
            let ready = view.next_epoch() > seed_epoch && !hidden(sector, self.habits.drops);
            let statement = view.state.porep_statement(provider, sector).filter(|_| ready);
            let Some((statement, record)) = statement.zip(view.state.sector(provider, sector)) else { continue };
            let pieces = manifest(view, &record.deals);
            let proof = true_proof(&statement);
            if random.chance(self.habits.lies) {
                let proof = random.bytes32().to_vec();
                let command = Command::ProveCommit { provider, sector, pieces: pieces.clone(), proof };
                offers.crime(self.account, command, Crime::WrongProof);
            }
            offers.command(self.account, Command::ProveCommit { provider, sector, pieces, proof });
        }
    }

    /// Answers every challenge that is open, as far as it can.
    fn prove(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let calendar = view.state.calendar(provider);
        let mut last: Option<Vec<u8>> = None;
        for (deadline, partition, members) in view.state.partitions_of(provider) {
            let instance = calendar.closing_at(deadline, members.closes_at);
            let proven = members.proven_challenge >= Some(instance.challenge_epoch);
            if members.sectors.is_empty() || proven || !instance.is_open_at(view.next_epoch()) {
                continue;
            }
            let Some(statement) = view.state.window_post_statement(provider, deadline, partition) else { continue };
            let challenge_epoch = instance.challenge_epoch;
            // What is lost is left out, now and then, instead of missing the deadline with everything.
            let mut statement = statement;
            let numbers = statement.sectors.iter().map(|(sector, _)| *sector);
            let lost: Vec<SectorNumber> = numbers.filter(|sector| self.lost.contains(sector)).collect();
            let skipped = if random.chance(300) { lost.clone() } else { Vec::new() };
            statement.sectors.retain(|(sector, _)| !skipped.contains(sector));
            let gone = skipped.len() < lost.len();
            let post = |proof| {
                let skipped = skipped.clone();
                Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped }
            };
            if random.chance(self.habits.lies) {
                // Another partition's proof, or noise.
                let wrong = last.take().unwrap_or_else(|| random.bytes32().to_vec());
                offers.crime(self.account, post(wrong), Crime::WrongProof);
            } else if !gone && !statement.sectors.is_empty() && random.chance(400) {
                let proof = if random.chance(self.habits.hires) {
                    let Some(proof) = self.hire(provider, ProofStatement::WindowPost(statement), view, random, offers)
                    else {
                        continue;
                    };
                    proof
                } else {
                    true_proof(&statement)
                };
                offers.command(self.account, post(proof.clone()));
                last = Some(proof);
            }
        }
    }

    /// The proof that somebody made for a job of ours. Without a job about the statement, one is posted.
    fn hire(
        &self,
        provider: ProviderId,
        statement: ProofStatement,
        view: &View<'_>,
        random: &mut Random,
        offers: &mut Offers<'_>,
    ) -> Option<Vec<u8>> {
        let own = view.keys[self.account].address;
        let mut jobs = view.state.jobs().filter(|(_, job)| job.poster == own && job.terms.statement == statement);
        let mut is_live = false;
        let proven = jobs.find_map(|(_, job)| match &job.status {
            JobStatus::Proven { proof, .. } => Some(proof.clone()),
            _ => {
                is_live |= job.is_live();
                None
            }
        });
        if proven.is_some() || is_live {
            return proven;
        }
        let terms = JobTerms { price_per_million_max: Amount(5_000), ..terms(statement, 4, view, random) };
        let command = match SectorJob::of(provider, terms.clone()) {
            // Sectors that are not as signed for are refused, and cost nothing but the fee.
            Some(mut job) if random.chance(50) => {
                job.digest[0] ^= 1;
                JobCommand::PostSectors(Box::new(job))
            }
            Some(job) => JobCommand::PostSectors(Box::new(job)),
            None => JobCommand::Post(Box::new(terms)),
        };
        offers.command(self.account, Command::Job(command));
        None
    }

    /// Hands in the update that waits for its proof, once there is one.
    fn take_update(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let Some((update, statement)) = self.posted.take() else { return };
        // Somebody else has the deal by now, or the sector is gone or full: then nobody needs the proof.
        let waits = |entry: &ManifestPiece| {
            let deal = entry.deal.and_then(|deal| view.state.deal(deal));
            deal.is_some_and(|deal| deal.provider == provider && matches!(deal.status, DealStatus::Assigned { .. }))
        };
        let same = |sector: &cairn_ledger::Sector| sector.comm_r == statement.comm_r_old && sector.proving().is_some();
        if !update.pieces.iter().all(waits) || !view.state.sector(provider, update.sector).is_some_and(same) {
            return;
        }
        let wanted = ProofStatement::SectorUpdate(statement.clone());
        if let Some(proof) = self.hire(provider, wanted, view, random, offers) {
            let ready = SectorUpdate { proof, ..update.clone() };
            offers.command(self.account, Command::Sector(SectorCommand::Update(ready)));
        }
        self.posted = Some((update, statement));
    }

    /// Sectors get lost and come back from another copy; most of it is declared.
    fn repair(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let live: Vec<SectorNumber> = view.board.live.get(&provider).into_iter().flatten().copied().collect();
        if random.chance(self.habits.loses)
            && let Some(&sector) = random.pick(&live)
        {
            self.lost.insert(sector);
            if random.chance(500) {
                offers.command(self.account, Command::DeclareFaults { provider, sectors: vec![sector] });
            }
        }
        if random.chance(30) {
            self.lost.pop_first();
        }
        let faulty = view.board.faulty.get(&provider).into_iter().flatten();
        let repaired: Vec<SectorNumber> = faulty.filter(|sector| !self.lost.contains(sector)).copied().collect();
        if !repaired.is_empty() && random.chance(400) {
            // One by one: a locked one must not stand in the way of the others.
            let sectors = vec![repaired[random.below(repaired.len() as u64) as usize]];
            offers.command(self.account, Command::DeclareRecovery { provider, sectors });
        }
    }

    /// Ends a sector before its time, or prolongs it.
    fn manage(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let live: Vec<SectorNumber> = view.board.live.get(&provider).into_iter().flatten().copied().collect();
        let acts = random.chance(30);
        let Some(&sector) = random.pick(&live).filter(|_| acts) else { return };
        let Some(record) = view.state.sector(provider, sector) else { return };
        let sectors = vec![sector];
        let command = if random.chance(300) {
            SectorCommand::Terminate { provider, sectors }
        } else {
            let expiration = Epoch(record.expiration.0 + random.between(1, view.params().proving_period()));
            SectorCommand::Extend { provider, sectors, expiration }
        };
        offers.command(self.account, Command::Sector(command));
    }

    /// Puts a deal that waits into a sector that holds nothing.
    fn update(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        self.take_update(provider, view, random, offers);
        let waiting: Vec<DealId> = view.board.assigned.get(&provider).into_iter().flatten().copied().collect();
        let fills = random.chance(150);
        let Some(&deal) = random.pick(&waiting).filter(|_| fills) else { return };
        let live = view.board.live.get(&provider).into_iter().flatten().copied();
        let is_empty =
            |number: &SectorNumber| view.state.sector(provider, *number).is_some_and(|record| record.deals.is_empty());
        let empty: Vec<SectorNumber> = live.filter(is_empty).collect();
        let Some(&sector) = random.pick(&empty) else { return };
        let (Some(record), Some(owned)) = (view.state.sector(provider, sector), view.state.provider(provider)) else {
            return;
        };
        let pieces = manifest(view, &[deal]);
        let infos: Vec<PieceInfo> = pieces.iter().map(|entry| entry.piece).collect();
        let Ok(comm_d_new) = HashVerifier.comm_d(owned.sector_size, &infos) else { return };
        let comm_r = CommR(random.bytes32());
        let (sector_size, comm_r_old) = (owned.sector_size, record.comm_r);
        let statement = SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new: comm_r };
        let update = |proof| {
            let pieces = pieces.clone();
            Command::Sector(SectorCommand::Update(SectorUpdate { provider, sector, comm_r, pieces, proof }))
        };
        if random.chance(self.habits.hires) {
            let update = SectorUpdate { provider, sector, comm_r, pieces, proof: Vec::new() };
            self.posted.get_or_insert((update, statement));
            return;
        }
        if random.chance(self.habits.lies) {
            offers.crime(self.account, update(random.bytes32().to_vec()), Crime::WrongProof);
        }
        offers.command(self.account, update(true_proof(&statement)));
    }

    fn money(&mut self, provider: ProviderId, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let own = view.keys[self.account].address;
        let earning = view.board.channels.iter().filter(|(_, (_, payee))| *payee == own);
        let earning: Vec<_> = earning.map(|(channel, (payer, _))| (*channel, *payer)).collect();
        let redeems = random.chance(300);
        if let Some(&(channel, payer)) = random.pick(&earning).filter(|_| redeems) {
            let record = view.state.channel(channel).expect("the board lists open channels");
            let most = record.redeemed().0 + record.held().0;
            let cumulative = Amount(random.between(0, most));
            let payer = view.keys.iter().find(|pair| pair.address == payer).expect("everybody has a key");
            let voucher = Voucher { channel, cumulative }.sign(view.state.chain(), &payer.key);
            if random.chance(300) {
                offers.command(self.account, Command::BindChannel { channel, provider });
            }
            match random.chance(50) {
                true => offers.command(self.account, Command::CloseChannel { channel }),
                false => offers.command(self.account, Command::RedeemVoucher(voucher)),
            }
        }
        if random.chance(20) {
            let amount = Amount(random.between(1, view.params().collateral_min.0));
            let command = match random.chance(500) {
                true => Command::AddCollateral { provider, amount },
                false => Command::WithdrawCollateral { provider, amount },
            };
            offers.command(self.account, command);
        }
        if random.chance(40) {
            offers.command(self.account, Command::ClaimRewards { provider: Some(provider) });
        }
        if random.chance(self.habits.drains) {
            let balance = view.state.account(&own).balance.0;
            let amount = Amount(balance.saturating_sub(3 * view.params().transaction_fee.0).max(1));
            offers.command(self.account, Command::Transfer { to: view.keys[0].address, amount });
        }
    }
}

/// Whether a habit concerns this thing: the same answer each time, so that what is dropped stays dropped.
fn hidden(thing: impl Into<Thing>, thousandths: u64) -> bool {
    Random::fork(thing.into().0, 7).chance(thousandths)
}

struct Thing(u64);

impl From<DealId> for Thing {
    fn from(deal: DealId) -> Self {
        Self(deal.0)
    }
}

impl From<OrderId> for Thing {
    fn from(order: OrderId) -> Self {
        Self(order.0 ^ 1 << 60)
    }
}

impl From<SectorNumber> for Thing {
    fn from(sector: SectorNumber) -> Self {
        Self(sector.0 ^ 1 << 61)
    }
}

/// The manifest of a sector that holds exactly these deals.
fn manifest(view: &View<'_>, deals: &[DealId]) -> Vec<ManifestPiece> {
    let pieces = deals.iter().filter_map(|deal| Some((view.state.deal(*deal)?.piece.piece, *deal)));
    pieces.map(|(piece, deal)| ManifestPiece { piece, deal: Some(deal) }).collect()
}

impl Actor for ProviderActor {
    fn name(&self) -> &str {
        self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let Some(provider) = self.provider else { return self.register(view, random, offers) };
        if view.next_epoch() < self.asleep_until {
            return;
        }
        if random.chance(self.habits.sleeps) {
            let nap = random.between(5, 2 * view.params().proving_period());
            self.asleep_until = Epoch(view.next_epoch().0 + nap);
            return;
        }
        self.reveal(provider, view, random, offers);
        self.bid(provider, view, random, offers);
        self.prove(provider, view, random, offers);
        self.prove_commit(provider, view, random, offers);
        self.pre_commit(provider, view, random, offers);
        self.repair(provider, view, random, offers);
        self.manage(provider, view, random, offers);
        self.update(provider, view, random, offers);
        if random.chance(25) {
            let attributes = some_attributes(random);
            offers.command(self.account, Command::Market(MarketCommand::SetAttributes { provider, attributes }));
        }
        self.money(provider, view, random, offers);
    }
}
