//! A group of a piece with a provider's signature under it, and the proof of what the piece has there.
//!
//! Both are what a source says: the caller holds the statement against the bytes that came, and the proof is checked here
//! against CommP. Nothing is tried again.

use std::future::Future;
use std::time::Duration;

use cairn_protocol::{CommP, Epoch, GROUP_BYTES, RangeProof, RangeProofRejection, VerifiedGroups, piece_cid_v1};

use super::block_on;
use super::error::{FetchError, SourceFailure, SourceFault};
use super::http::{self, Part, Reply};
use super::url::SourceUrl;
use crate::server::X_SERVED_GROUP;
use crate::tls::TlsTrust;

/// Most bytes of a statement; those of the ledger have less than half of it.
const STATEMENT_BYTES_MAX: usize = 1024;
/// Most bytes of a proof for one group: 16 levels.
const PROOF_BYTES_MAX: usize = 1024;

/// What a provider sent and signed; nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedGroup {
    /// The payload of the group, as it came.
    pub bytes: Vec<u8>,
    /// The statement, as it came.
    pub statement: Vec<u8>,
}

/// Asks for a group of a piece with a signature; `epoch` and `nonce` stand in the statement.
///
/// # Errors
/// What the source did wrong; that it signs nothing is an answer of 404.
pub async fn fetch_signed_group(
    source: &SourceUrl,
    piece: &CommP,
    group: u64,
    epoch: Epoch,
    nonce: u64,
    trust: &TlsTrust,
    stall: Duration,
) -> Result<SignedGroup, SourceFault> {
    let cid = piece_cid_v1(piece);
    let path = format!("/piece/{cid}/signed?group={group}&epoch={}&nonce={nonce}", epoch.0);
    let mut reply = http::get(None, source, &path, Part::Whole, trust, stall).await?;
    reply.check_status(&path).await?;
    let mismatch = |problem: String| SourceFault::Mismatch { target: path.clone(), problem };
    let statement = reply.headers.get(X_SERVED_GROUP).map(|value| value.as_bytes());
    let statement = statement.ok_or_else(|| mismatch("no signed statement".into()))?;
    let statement = Some(statement).filter(|digits| digits.len() <= 2 * STATEMENT_BYTES_MAX);
    let statement = statement
        .and_then(|digits| hex::decode(digits).ok())
        .ok_or_else(|| mismatch("a statement that is too long, or no hex digits".into()))?;
    let bytes = read_at_most(&mut reply, GROUP_BYTES as usize).await?;
    let bytes = bytes.ok_or_else(|| mismatch(format!("more than the {GROUP_BYTES} bytes of a group")))?;
    Ok(SignedGroup { bytes, statement })
}

/// Asks what a piece has at one group, and checks that CommP says so; the proof comes in its form that travels, too.
///
/// # Errors
/// What the source did wrong, a proof that does not hold included.
pub async fn fetch_group_proof(
    source: &SourceUrl,
    piece: &CommP,
    group: u64,
    trust: &TlsTrust,
    stall: Duration,
) -> Result<(VerifiedGroups, Vec<u8>), SourceFault> {
    let (cid, byte) = (piece_cid_v1(piece), group.saturating_mul(GROUP_BYTES));
    let path = format!("/piece/{cid}/proof?range={byte}-{byte}");
    let mut reply = http::get(None, source, &path, Part::Whole, trust, stall).await?;
    reply.check_status(&path).await?;
    let mismatch = |problem: String| SourceFault::Mismatch { target: path.clone(), problem };
    let bytes = read_at_most(&mut reply, PROOF_BYTES_MAX).await?;
    let bytes = bytes.ok_or_else(|| mismatch(format!("a proof of more than {PROOF_BYTES_MAX} bytes")))?;
    let verified = RangeProof::decode(&bytes).and_then(|proof| proof.verify(piece));
    let verified = verified.map_err(|rejection: RangeProofRejection| mismatch(rejection.to_string()))?;
    if verified.groups() != (group..group + 1) {
        return Err(mismatch(format!("a proof for groups {:?}, not for {group}", verified.groups())));
    }
    Ok((verified, bytes))
}

/// [`fetch_signed_group`] for callers without a runtime.
///
/// # Errors
/// Those of [`fetch_signed_group`].
///
/// # Panics
/// If called from within a tokio runtime; call [`fetch_signed_group`] there.
pub fn fetch_signed_group_blocking(
    source: &SourceUrl,
    piece: &CommP,
    group: u64,
    epoch: Epoch,
    nonce: u64,
    trust: &TlsTrust,
    stall: Duration,
) -> Result<SignedGroup, FetchError> {
    of_source(source, piece, fetch_signed_group(source, piece, group, epoch, nonce, trust, stall))
}

/// [`fetch_group_proof`] for callers without a runtime.
///
/// # Errors
/// Those of [`fetch_group_proof`].
///
/// # Panics
/// If called from within a tokio runtime; call [`fetch_group_proof`] there.
pub fn fetch_group_proof_blocking(
    source: &SourceUrl,
    piece: &CommP,
    group: u64,
    trust: &TlsTrust,
    stall: Duration,
) -> Result<(VerifiedGroups, Vec<u8>), FetchError> {
    of_source(source, piece, fetch_group_proof(source, piece, group, trust, stall))
}

/// Runs one request to its end; a fault is that of the one source there is.
fn of_source<T>(
    source: &SourceUrl,
    piece: &CommP,
    request: impl Future<Output = Result<T, SourceFault>>,
) -> Result<T, FetchError> {
    block_on(async {
        request.await.map_err(|fault| {
            let failures = vec![SourceFailure { source: source.clone(), fault }];
            FetchError::NoSourceLeft { what: format!("piece {piece}"), failures }
        })
    })
}

/// The whole body, unless it has more than `most` bytes.
async fn read_at_most(reply: &mut Reply, most: usize) -> Result<Option<Vec<u8>>, SourceFault> {
    let mut body = Vec::new();
    while let Some(chunk) = reply.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
