//! The calendar, counted by hand.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::{Event, State};
use cairn_protocol::{Epoch, ProviderId, SectorNumber};

use super::Checker;
use crate::observation::Observation;

type Key = (ProviderId, SectorNumber);

/// Deadlines of one sector.
struct Count {
    /// Instances that have closed, as the calendar says.
    closed: u64,
    /// Instances that were answered or missed, as the events say.
    accounted: u64,
}

/// See [`super::PROMISES`].
pub struct EveryDeadlineCounts {
    sectors: BTreeMap<Key, Count>,
    closes: BTreeSet<(Epoch, Key)>,
}

impl EveryDeadlineCounts {
    pub(super) fn new(_: &State) -> Self {
        Self { sectors: BTreeMap::new(), closes: BTreeSet::new() }
    }

    fn read(&mut self, event: &Event, seen: &Observation) {
        match event {
            Event::SectorActivated { provider, sector, first_challenge, .. } => {
                let key = (*provider, *sector);
                let closes_at = Epoch(first_challenge.0 + seen.after.params().post_window());
                self.sectors.insert(key, Count { closed: 0, accounted: 0 });
                self.closes.insert((closes_at, key));
            }
            Event::SectorFaulted { provider, sector, missed, .. } if *missed > 0 => {
                self.account((*provider, *sector));
            }
            Event::WindowPostAccepted { provider, sectors, .. } => {
                sectors.iter().for_each(|sector| self.account((*provider, *sector)));
            }
            Event::SectorClosed { provider, sector, .. } => drop(self.sectors.remove(&(*provider, *sector))),
            _ => {}
        }
    }

    fn account(&mut self, key: Key) {
        if let Some(count) = self.sectors.get_mut(&key) {
            count.accounted += 1;
        }
    }
}

impl Checker for EveryDeadlineCounts {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.outcome.events.iter().for_each(|event| self.read(event, seen));
        while let Some(&(closes_at, key)) = self.closes.first().filter(|(at, _)| at.0 + seen.lag <= seen.now().0) {
            self.closes.remove(&(closes_at, key));
            let Some(count) = self.sectors.get_mut(&key) else { continue };
            count.closed += 1;
            if count.accounted < count.closed {
                let (sector, provider) = (key.1, key.0);
                let Count { closed, accounted } = count;
                return Err(format!("sector {sector} of {provider}: {closed} deadlines closed, {accounted} accounted"));
            }
            self.closes.insert((Epoch(closes_at.0 + seen.after.params().proving_period()), key));
        }
        // Nothing is answered or missed twice: at most the instance that is open now is ahead.
        let ahead = |(_, count): &(&Key, &Count)| count.accounted > count.closed + 1 + u64::from(seen.lag > 0);
        match self.sectors.iter().find(ahead).filter(|_| seen.full) {
            Some(((provider, sector), Count { closed, accounted })) => {
                Err(format!("sector {sector} of {provider}: {closed} deadlines closed, {accounted} accounted"))
            }
            None => Ok(()),
        }
    }
}
