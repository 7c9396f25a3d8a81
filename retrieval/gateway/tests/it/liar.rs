//! A provider that sends wrong bytes and means it.

use std::sync::Arc;

use cairn_content::{HotStore, PieceGroups};
use cairn_gateway::{ContentSource, DataEntry, PieceResource, Resource, SourceCounts, SourceError};
use cairn_protocol::CommP;
use cid::Cid;

fn payload_of(store: &HotStore, comm_p: &CommP) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(mut held) = ContentSource::piece(store, comm_p)? else { return Ok(None) };
    let mut payload = vec![0; held.resource.bytes as usize];
    let mut filled = 0;
    while filled < payload.len() {
        filled += held.resource.reader.read_at(filled as u64, &mut payload[filled..]).unwrap();
    }
    Ok(Some(payload))
}

/// A provider's store that sends a flipped byte, and keeps roots that go with it.
pub struct Liar {
    pub store: Arc<HotStore>,
    /// The byte of each piece that is flipped.
    pub at: usize,
}

impl Liar {
    fn payload(&self, comm_p: &CommP) -> Result<Option<Vec<u8>>, SourceError> {
        let mut payload = payload_of(&self.store, comm_p)?;
        payload.iter_mut().for_each(|payload| payload[self.at] ^= 0x20);
        Ok(payload)
    }
}

impl ContentSource for Liar {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        let held = ContentSource::piece(self.store.as_ref(), comm_p)?;
        let payload = self.payload(comm_p)?;
        Ok(held.zip(payload).map(|(held, payload)| PieceResource { resource: Resource::of_bytes(payload), ..held }))
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        ContentSource::dataset_by_name(self.store.as_ref(), name)
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        self.store.data(root, path)
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        ContentSource::block(self.store.as_ref(), cid)
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        let payload = self.payload(comm_p)?;
        Ok(payload.and_then(|payload| PieceGroups::read(payload.as_slice()).unwrap()))
    }

    fn counts(&self) -> SourceCounts {
        self.store.counts()
    }
}
