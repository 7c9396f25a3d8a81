//! Clients: they order, cancel, pay, settle, and sometimes run dry.

use cairn_ledger::scores::Fraction;
use cairn_ledger::testing::{order_terms, piece};
use cairn_ledger::{Address, Attributes, Command, OrderTerms, RegionRule, Requirements};
use cairn_protocol::Amount;

use super::Actor;
use super::auditors::DISKS;
use crate::random::Random;
use crate::world::{AccountIndex, Offers, View};

/// A client.
pub struct Client {
    name: String,
    account: AccountIndex,
}

impl Client {
    pub(super) fn new(number: u32, account: AccountIndex) -> Self {
        Self { name: format!("client-{number}"), account }
    }

    fn own(&self, view: &View<'_>) -> Address {
        view.keys[self.account].address
    }

    fn order(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let mut terms = terms(view, random, 24, 2_000);
        if random.chance(300) {
            terms.requirements = requirements(view, random);
        }
        offers.command(self.account, Command::PlaceOrder(terms));
        if random.chance(100) {
            let mine = |address: &Address| *address == self.own(view);
            let open = view.board.open_orders.keys().copied();
            let own = open.filter(|order| view.state.order(*order).is_some_and(|record| mine(&record.client)));
            if let Some(&order) = random.pick(&own.collect::<Vec<_>>()) {
                offers.command(self.account, Command::CancelOrder { order });
            }
        }
    }

    fn use_channels(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let own = self.own(view);
        let channels = view.board.channels.iter().filter(|(_, (payer, _))| *payer == own);
        let channels: Vec<_> = channels.map(|(channel, _)| *channel).collect();
        let least = view.params().channel_deposit_min;
        match (random.pick(&channels).copied(), random.below(3)) {
            (Some(channel), 0) => offers.command(self.account, Command::StartCloseChannel { channel }),
            (Some(channel), 1) => {
                let amount = Amount(random.between(1, least.0));
                offers.command(self.account, Command::TopUpChannel { channel, amount });
            }
            _ if channels.len() < 4 => {
                let payees: Vec<Address> = view.board.owners.values().copied().collect();
                if let Some(&payee) = random.pick(&payees) {
                    let deposit = Amount(random.between(least.0, 10 * least.0));
                    offers.command(self.account, Command::OpenChannel { payee, deposit });
                }
            }
            _ => {}
        }
    }

    /// Pays somebody; now and then so much that fees cannot be paid any more.
    fn pay(&self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let to = view.keys[random.below(view.keys.len() as u64) as usize].address;
        let balance = view.state.account(&self.own(view)).balance;
        let most = if random.chance(30) { balance.0 } else { balance.0 / 20 };
        offers.command(self.account, Command::Transfer { to, amount: Amount(random.between(1, most.max(1))) });
    }
}

/// What somebody might ask of those who store: a kind of disk, a word of auditors, a reputation, a region.
fn requirements(view: &View<'_>, random: &mut Random) -> Requirements {
    let disk = random.pick(&DISKS).map(|disk| ("disk", *disk));
    let mut auditors: Vec<Address> = view.keys.iter().rev().skip(1).take(2).map(|pair| pair.address).collect();
    auditors.sort();
    let (any, all) = match random.below(4) {
        0 => (auditors, Vec::new()),
        1 => (Vec::new(), auditors[..1].to_vec()),
        _ => (Vec::new(), Vec::new()),
    };
    Requirements {
        attributes: Attributes::new(disk),
        signed_by_all: all,
        signed_by_any: any,
        reputation_min: Fraction::of(random.below(4), 10),
        regions: [RegionRule::Declared, RegionRule::Required, RegionRule::Any][random.below(3) as usize],
    }
}

/// Terms of a random order: up to three pieces below `2^log_end` bytes.
fn terms(view: &View<'_>, random: &mut Random, log_end: u64, price_end: u64) -> OrderTerms {
    let pieces = 1 + random.below(3);
    let pieces = (0..pieces).map(|_| piece(random.below(8) as u8, 1 << random.between(7, log_end - 1)));
    let pieces = pieces.collect();
    let mut terms = order_terms(view.params(), pieces, random.below(price_end));
    terms.copies = random.between(1, 3) as u32;
    terms.duration_epochs = view.params().deal_epochs_min + random.below(200);
    terms
}

impl Actor for Client {
    fn name(&self) -> &str {
        &self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if random.chance(120) {
            self.order(view, random, offers);
        }
        if random.chance(100) {
            self.use_channels(view, random, offers);
        }
        if random.chance(300) {
            self.pay(view, random, offers);
        }
        if random.chance(200)
            && let Some(&deal) = random.pick(&view.board.active_deals)
        {
            offers.command(self.account, Command::Settle { deal });
        }
    }
}

/// Orders next to nothing for next to nothing, again and again.
pub struct DustOrderer {
    account: AccountIndex,
}

impl DustOrderer {
    pub(super) fn new(account: AccountIndex) -> Self {
        Self { account }
    }
}

impl Actor for DustOrderer {
    fn name(&self) -> &str {
        "dust-orderer"
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if random.chance(80) {
            for _ in 0..random.between(1, 4) {
                offers.command(self.account, Command::PlaceOrder(terms(view, random, 9, 2)));
            }
        }
    }
}
