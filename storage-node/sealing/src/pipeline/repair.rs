//! Checking a file against its digests, and making it again if it is damaged.
//!
//! 1. Compare the file with its recorded digests. Intact: done. Unreadable: stop, an operator must look.
//! 2. Count the repair in the journal, before anything else, so that a file that breaks again and again is noticed.
//! 3. Do the same with every input of the stage that makes the file. Most often they are intact and only this stage
//!    runs; after finalization they are gone, and the walk goes back as far as the pieces.
//! 4. Run that stage. Its files must have the recorded digests and its commitments the recorded values: the stages are
//!    deterministic, so anything else means that this machine computes wrong, and nothing is carried on. A SNARK alone
//!    differs each time; it was verified, and takes the place of the damaged one in the journal too.

use cairn_compute::Workers;
use cairn_protocol::SectorNumber;

use super::work::Work;
use super::{Inner, Pipeline};
use crate::digest::{Damage, DamageKind, FileDigests};
use crate::error::{PipelineError, StageError};
use crate::event::PipelineEvent;
use crate::file::SectorFile;
use crate::state::{Milestone, SectorRecord, SectorState};

impl Work<'_> {
    /// Returns once `file` is what the journal says, having made it again if need be.
    pub(super) fn ensure(&mut self, file: SectorFile) -> Result<(), StageError> {
        match self.recorded(file)?.check(file, &self.path(file), self.workers) {
            Ok(()) => Ok(()),
            Err(damage) => self.make_again(damage),
        }
    }

    pub(super) fn recorded(&self, file: SectorFile) -> Result<FileDigests, StageError> {
        let digests = self.inner.journal.digests(self.record.sector(), file)?;
        digests.ok_or(StageError::NoDigests { file })
    }

    fn make_again(&mut self, damage: Damage) -> Result<(), StageError> {
        let (sector, file) = (self.record.sector(), damage.file);
        self.emit(PipelineEvent::DamageFound { sector, damage: damage.clone() });
        tracing::warn!(sector = sector.0, %damage, "damaged file");
        if let DamageKind::Unreadable { .. } = damage.kind {
            return Err(StageError::Unreadable { damage });
        }
        let times = self.record.count_repair(file, damage.to_string());
        if times >= self.inner.options.repairs_max {
            return Err(StageError::DamagedAgain { damage, times });
        }
        self.inner.journal.write_sector(&self.record, &[])?;
        let maker = file.maker();
        for input in maker.reads(&self.params) {
            self.ensure(input)?;
        }
        self.make(maker)?;
        let digests = self.digests_of(maker)?;
        if let [(SectorFile::PorepSnark, snark)] = digests.as_slice() {
            self.record.state = self.record.state.with_snark(snark.summary());
            self.inner.journal.write_sector(&self.record, &digests)?;
            self.emit(PipelineEvent::Repaired { sector, file });
            return Ok(());
        }
        for (made, got) in digests {
            let expected = self.recorded(made)?;
            if let Some(offset) = expected.first_difference(&got) {
                let (expected, got) = (hex::encode(expected.summary()), hex::encode(got.summary()));
                return Err(StageError::FileChanged { file: made, offset, expected, got });
            }
        }
        self.emit(PipelineEvent::Repaired { sector, file });
        Ok(())
    }
}

impl Inner {
    /// Damage among the files that `record` must have now, `which` of them; nothing is changed.
    pub(crate) fn find_damage(
        &self,
        record: &SectorRecord,
        workers: &Workers,
        which: impl Fn(SectorFile) -> bool,
    ) -> Result<Vec<Damage>, StageError> {
        let work = Work::new(self, record.clone(), workers);
        let active = record.state.milestone() >= Milestone::Active;
        let mut found = Vec::new();
        for file in SectorFile::all(&work.params).into_iter().filter(|file| which(*file)) {
            // From then on nothing reads the others, and they are about to go.
            if active && !file.is_kept() {
                continue;
            }
            // A file without digests is not made yet.
            let Some(digests) = self.journal.digests(record.sector(), file)? else { continue };
            found.extend(digests.check(file, &work.path(file), workers).err());
        }
        Ok(found)
    }
}

impl Pipeline {
    /// Reads all files that the sector must have now and compares them with their digests.
    ///
    /// # Errors
    /// [`PipelineError`] if there is no such sector, or the journal's.
    pub fn check_sector(&self, sector: SectorNumber) -> Result<Vec<Damage>, PipelineError> {
        let record = self.sector(sector)?;
        let failed = |source| PipelineError::Repair { sector, source };
        let mut found = self.inner.find_damage(&record, &self.inner.workers, |_| true).map_err(failed)?;
        found.extend(self.inner.find_update_damage(&record, &self.inner.workers, |_| true).map_err(failed)?);
        Ok(found)
    }

    /// Makes every damaged file of the sector again. For a finalized sector that may mean sealing it again from its
    /// pieces; what is not needed afterwards is removed again.
    ///
    /// # Errors
    /// [`PipelineError::Repair`] says why a file cannot be made again, and so does the sector's state from then on;
    /// otherwise as [`Pipeline::check_sector`].
    pub fn repair_sector(&self, sector: SectorNumber) -> Result<(), PipelineError> {
        let _turn = self.inner.wait_turn(sector);
        let record = self.sector(sector)?;
        let failed = |source| PipelineError::Repair { sector, source };
        let damaged = self.inner.find_damage(&record, &self.inner.workers, |_| true).map_err(failed)?;
        let mut work = Work::new(&self.inner, record, &self.inner.workers);
        for damage in &damaged {
            match work.ensure(damage.file) {
                Ok(()) => {}
                Err(StageError::Journal(error)) => return Err(error.into()),
                Err(error) => {
                    work.fail(damage.file.maker(), &error)?;
                    return Err(failed(error));
                }
            }
        }
        if matches!(work.record.state.effective(), SectorState::Finalized { .. }) {
            let removed = self.inner.remove_unneeded(&work.record);
            removed.map_err(|(path, source)| failed(StageError::Io { operation: "remove", path, source }))?;
        }
        if work.record.state.failure().is_some() {
            work.record.state = work.record.state.effective().clone();
            self.inner.journal.write_sector(&work.record, &[])?;
        }
        self.inner.repair_update(&work.record).map_err(failed)?;
        self.inner.repairs_wanted().remove(&sector);
        Ok(())
    }
}
