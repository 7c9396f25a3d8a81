//! `cairn provider accuse`: holds a provider to its word for the bytes that it sends.
//!
//! 1. What the piece has at a place is learnt first, with a proof: from an own copy, the accused, or another gateway.
//! 2. The provider is asked for the same bytes with its signature. Without one that holds there is nothing to bring.
//! 3. What it signed differs: the evidence goes to the ledger.

use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cairn_access::{AskedGroup, Word};
use cairn_content::PieceGroups;
use cairn_gateway::TlsTrust;
use cairn_gateway::fetch::{SourceUrl, fetch_group_proof_blocking, fetch_signed_group_blocking};
use cairn_ledger::{Command, ServedGroup, WrongBytes};
use cairn_protocol::{Amount, CommP, GROUP_BYTES, PaddedBytes, PieceInfo, ProviderId, RangeProof, parse_piece_cid};
use serde::Serialize;

use super::session::Session;
use super::table::facts;
use crate::cli::AccuseArguments;

/// How long a gateway may be silent.
const STALL: Duration = Duration::from_secs(30);

/// What came of one place.
#[derive(Debug, Serialize)]
struct Finding {
    provider: ProviderId,
    piece: CommP,
    group: u64,
    first_byte: u64,
    right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burnt: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rewarded: Option<Amount>,
}

/// Who says what the piece is.
struct Witnesses {
    piece: CommP,
    copy: Option<PieceGroups>,
    gateways: Vec<SourceUrl>,
    trust: TlsTrust,
}

impl Witnesses {
    fn open(arguments: &AccuseArguments, piece: CommP, accused: &SourceUrl) -> anyhow::Result<Self> {
        let copy = match &arguments.copy {
            None => None,
            Some(path) => {
                let named = || format!("--copy {}", path.display());
                let groups = PieceGroups::read(BufReader::new(File::open(path).with_context(named)?));
                let groups =
                    groups.with_context(named)?.with_context(|| format!("{}: larger than a sector", named()))?;
                let got = groups.commitment().comm_p;
                ensure!(got == piece, "{}: its CommP is {got}, the piece has {piece}", named());
                Some(groups)
            }
        };
        let others = arguments.witnesses.iter().map(|url| url.parse().context("--from"));
        let gateways = std::iter::once(Ok(accused.clone())).chain(others).collect::<anyhow::Result<_>>()?;
        Ok(Self { piece, copy, gateways, trust: TlsTrust::default() })
    }

    /// What the piece has at a group: the proof as it travels, and the padded size that it goes with.
    fn ask(&self, group: u64) -> anyhow::Result<(Vec<u8>, PaddedBytes)> {
        let byte = group.saturating_mul(GROUP_BYTES);
        if let Some(groups) = &self.copy {
            let proof: RangeProof = groups
                .prove(byte..byte.saturating_add(1))
                .with_context(|| format!("the copy ends before byte {byte}"))?;
            return Ok((proof.encode(), groups.shape().padded()));
        }
        let mut said = Vec::new();
        for gateway in &self.gateways {
            match fetch_group_proof_blocking(gateway, &self.piece, group, &self.trust, STALL) {
                Ok((verified, proof)) => return Ok((proof, verified.shape().padded())),
                Err(error) => said.push(error.to_string()),
            }
        }
        bail!("nobody proves what the piece has at byte {byte} (--from and --copy name others): {}", said.join("; "))
    }
}

/// Runs the command.
pub fn run(arguments: &AccuseArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let id = ProviderId(arguments.provider);
    let named = || format!("--piece {}", arguments.piece);
    let piece = parse_piece_cid(&arguments.piece.parse().with_context(named)?).with_context(named)?.comm_p;
    let provider = session.client.provider(id)?.with_context(|| format!("the ledger has no {id}"))?;
    let (url, flag) = match &arguments.gateway {
        Some(url) => (url, "--gateway"),
        None => (&provider.endpoint, "the provider's endpoint"),
    };
    let accused: SourceUrl = url.parse().context(flag)?;
    let witnesses = Witnesses::open(arguments, piece, &accused)?;
    let mut groups: Vec<u64> = arguments.places.iter().map(|byte| byte / GROUP_BYTES).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let (proof, size) = witnesses.ask(group)?;
        let network = session.client.network()?;
        let (epoch, nonce) = (network.height, rand::random());
        let info = PieceInfo { comm_p: piece, size };
        let statement = ServedGroup { provider: id, piece: info, group, root: CommP([0; 32]), epoch, nonce };
        let asked = AskedGroup { chain: network.chain, owner: provider.owner, statement };
        let came = fetch_signed_group_blocking(&accused, &piece, group, epoch, nonce, &witnesses.trust, STALL);
        let came = came.with_context(|| format!("{id} did not sign for byte {} on", group * GROUP_BYTES))?;
        let word = Word::read(&asked, &came).with_context(|| format!("what {accused} sent is not the word of {id}"))?;
        match word.hold(proof)? {
            Some(evidence) => bring(&session, arguments, evidence)?,
            None => {
                let first_byte = group * GROUP_BYTES;
                let (transaction, burnt, rewarded) = (None, None, None);
                let right =
                    Finding { provider: id, piece, group, first_byte, right: true, transaction, burnt, rewarded };
                tell(&session, &right)?;
            }
        }
    }
    Ok(())
}

/// Sends the evidence, and says what it cost whom.
fn bring(session: &Session, arguments: &AccuseArguments, evidence: WrongBytes) -> anyhow::Result<()> {
    let ServedGroup { provider, piece, group, .. } = evidence.signed.statement;
    let Some(done) = session.act(&arguments.signer, Command::ReportWrongBytes(Box::new(evidence)))? else {
        return Ok(());
    };
    let amount = |field| done.receipt.number("WrongBytesServed", field).map(Amount);
    let finding = Finding {
        provider,
        piece: piece.comm_p,
        group,
        first_byte: group * GROUP_BYTES,
        right: false,
        transaction: Some(done.transaction.to_string()),
        burnt: amount("burnt"),
        rewarded: amount("rewarded"),
    };
    tell(session, &finding)
}

fn tell(session: &Session, finding: &Finding) -> anyhow::Result<()> {
    session.output.print_as(finding, || {
        let units = |amount: Option<Amount>| amount.map(|amount| format!("{amount} units"));
        let what = if finding.right { "signed for, and right" } else { "signed for, and wrong: reported" };
        facts([
            (
                "bytes",
                Some(format!(
                    "{} to {} of {}",
                    finding.first_byte,
                    finding.first_byte + GROUP_BYTES - 1,
                    finding.piece
                )),
            ),
            (if finding.right { "fine" } else { "done" }, Some(what.to_owned())),
            ("burnt", units(finding.burnt)),
            ("to you", units(finding.rewarded)),
            ("transaction", finding.transaction.clone()),
        ])
    })
}
