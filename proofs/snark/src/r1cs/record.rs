//! Recording: a constraint system that writes what it is given.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use ark_ff::Field;
use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use cairn_compute::{Fr, Workers, fr_to_node};

use super::codec::{MINUS_ONE, ONE, RowWriter};
use super::file::{HEADER_BYTES, Header, Storage, checksum};
use super::{BLOCK_ROWS, Matrices, MatricesError};
use crate::circuit::{CircuitId, CircuitVisitor, SegmentedCircuit};
use crate::scalar::Scalar;
use crate::terms::{Column, Term, canonical};

/// How much is done: constraints recorded so far.
pub type RecordProgress<'a> = &'a dyn Fn(u64);

impl Matrices {
    /// Records a circuit's matrices into `file`, which appears when it is complete, and opens it. Memory is constant.
    ///
    /// # Errors
    /// [`MatricesError::Io`] if the disk refuses.
    pub fn record(
        id: CircuitId,
        file: &Path,
        workers: &Workers,
        progress: RecordProgress<'_>,
    ) -> Result<Self, MatricesError> {
        let io = |action| move |source| MatricesError::Io { action, file: file.into(), source };
        let partial = file.with_extension("partial");
        let opened = File::options().read(true).write(true).create(true).truncate(true).open(&partial);
        let mut out = BufWriter::with_capacity(1 << 20, opened.map_err(io("create"))?);
        id.visit(Record { id, out: &mut out, progress }).map_err(|error| error.of_file(file))?;
        out.into_inner().map_err(|error| io("write")(error.into_error()))?.sync_all().map_err(io("write"))?;
        fs::rename(&partial, file).map_err(io("rename"))?;
        Self::open(id, file, workers)
    }

    /// Records a circuit's matrices in memory, for small circuits that are used once.
    ///
    /// # Errors
    /// Never for a circuit of this crate; the type is that of [`Self::record`].
    pub fn record_in_memory(id: CircuitId, workers: &Workers) -> Result<Self, MatricesError> {
        let mut out = Cursor::new(vec![]);
        id.visit(Record { id, out: &mut out, progress: &|_| {} })
            .map_err(|error| error.of_file(Path::new("memory")))?;
        Self::check(id, Storage::Memory(out.into_inner()), workers)
    }
}

/// Why recording failed, before it is known where to.
enum RecordError {
    Io(io::Error),
    Synthesis(SynthesisError),
}

impl RecordError {
    fn of_file(self, file: &Path) -> MatricesError {
        match self {
            Self::Io(source) => MatricesError::Io { action: "write", file: file.into(), source },
            Self::Synthesis(error) => error.into(),
        }
    }
}

struct Record<'a, W> {
    id: CircuitId,
    out: &'a mut W,
    progress: RecordProgress<'a>,
}

impl<W: Write + Seek> CircuitVisitor for Record<'_, W> {
    type Output = Result<(), RecordError>;

    fn visit<C: SegmentedCircuit>(self, circuit: &C) -> Self::Output {
        let mut recorder = Recorder::new(self.out, self.progress);
        recorder.out.write_all(&[0; HEADER_BYTES]).map_err(RecordError::Io)?;
        circuit.synthesize(&mut recorder).map_err(RecordError::Synthesis)?;
        recorder.finish(self.id).map_err(RecordError::Io)
    }
}

/// Writes blocks as they fill up.
struct Recorder<'a, W> {
    out: &'a mut W,
    progress: RecordProgress<'a>,
    header: Header,
    block: RowWriter,
    entries: Vec<u8>,
    /// Position of each coefficient in the table.
    positions: HashMap<Fr, u32>,
    coefficients: Vec<u8>,
    terms: Vec<Term>,
    row: Vec<(Column, u32)>,
    /// The trait's `enforce` cannot fail; the first error waits here.
    failed: Option<io::Error>,
}

impl<'a, W: Write + Seek> Recorder<'a, W> {
    fn new(out: &'a mut W, progress: RecordProgress<'a>) -> Self {
        let mut recorder = Self {
            out,
            progress,
            header: Header { inputs: 1, ..Header::default() },
            block: RowWriter::default(),
            entries: vec![],
            positions: HashMap::new(),
            coefficients: vec![],
            terms: vec![],
            row: vec![],
            failed: None,
        };
        assert_eq!(recorder.position(&Fr::ONE), ONE);
        assert_eq!(recorder.position(&-Fr::ONE), MINUS_ONE);
        recorder
    }

    fn position(&mut self, coefficient: &Fr) -> u32 {
        let next = self.positions.len() as u32;
        *self.positions.entry(*coefficient).or_insert_with(|| {
            self.coefficients.extend_from_slice(&fr_to_node(coefficient));
            next
        })
    }

    fn write_row(&mut self, matrix: usize, combination: &LinearCombination<Scalar>) {
        let mut terms = std::mem::take(&mut self.terms);
        let mut row = std::mem::take(&mut self.row);
        canonical(combination, &mut terms);
        self.header.nnz[matrix] += terms.len() as u64;
        row.clear();
        for (column, coefficient) in &terms {
            let position = if *coefficient == Fr::ONE { ONE } else { self.position(coefficient) };
            row.push((*column, position));
        }
        self.block.write(&row);
        (self.terms, self.row) = (terms, row);
    }

    fn write_block(&mut self) {
        let block = self.block.take();
        let start = HEADER_BYTES as u64 + self.header.body_bytes;
        self.entries.extend_from_slice(&start.to_le_bytes());
        self.entries.extend_from_slice(&checksum([&block[..]]));
        self.header.body_bytes += block.len() as u64;
        if self.failed.is_none() {
            self.failed = self.out.write_all(&block).err();
        }
        (self.progress)(self.header.constraints);
    }

    /// Writes what is left, the tables, and the header before everything.
    fn finish(mut self, id: CircuitId) -> io::Result<()> {
        if !self.header.constraints.is_multiple_of(BLOCK_ROWS) {
            self.write_block();
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.header.coefficients = self.positions.len() as u64;
        let tables = [self.coefficients, self.entries].concat();
        self.out.write_all(&tables)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&self.header.to_bytes(id, &tables))?;
        self.out.flush()
    }
}

impl<W: Write + Seek> ConstraintSystem<Scalar> for Recorder<'_, W> {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _annotation: A, _value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.header.aux += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.header.aux as usize - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _annotation: A, _value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.header.inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(self.header.inputs as usize - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _annotation: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        self.write_row(0, &a(LinearCombination::zero()));
        self.write_row(1, &b(LinearCombination::zero()));
        self.write_row(2, &c(LinearCombination::zero()));
        self.header.constraints += 1;
        if self.header.constraints.is_multiple_of(BLOCK_ROWS) {
            self.write_block();
        }
    }

    fn push_namespace<NR, N>(&mut self, _name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
