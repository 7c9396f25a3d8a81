//! Sums of many groups of points at once: the one primitive under buckets, rows, columns and ones.
//!
//! A group is a run of entries, each the index of a point and whether it is negated. The sum of a group is taken as a
//! tree: neighbours are added pairwise, an odd one moves up as it is, until one is left. Groups are worked on in tiles:
//! in each round all pairs of a tile are one call of the engine and share an inversion. A group longer than a tile is
//! cut, and the sums of its parts are summed by a second pass over the same code.

use rayon::prelude::*;

use crate::curve::lanes::{Pair, PairAdder, Point};
use crate::huge_pages;

/// Entries of a tile. Half as many points of 128 bytes, and as many vectors of 8 bytes for differences and products,
/// fill about the second-level cache of a core.
const TILE: usize = 1 << 13;

/// Entries, sorted by group. Entry: twice the index of a point, plus one if it is negated.
pub(super) struct Groups {
    entries: Vec<u32>,
    /// Where each group starts, and the end.
    starts: Vec<u32>,
}

impl Groups {
    /// All of `count` points in one group.
    pub fn single(count: usize) -> Self {
        Self { entries: (0..count).map(entry).collect(), starts: vec![0, index_u32(count)] }
    }

    /// The groups as given, of indices of points.
    pub fn collected<G: Iterator<Item = usize>>(groups: impl Iterator<Item = G>) -> Self {
        Self::signed(groups.map(|group| group.map(|index| (index, false))))
    }

    /// The groups as given, of indices of points and whether they are negated.
    pub fn signed<G: Iterator<Item = (usize, bool)>>(groups: impl Iterator<Item = G>) -> Self {
        let (mut entries, mut starts) = (Vec::new(), vec![0]);
        for group in groups {
            entries.extend(group.map(|(index, negative)| entry(index) | u32::from(negative)));
            starts.push(index_u32(entries.len()));
        }
        Self { entries, starts }
    }

    /// Counting sort: point `index` goes into the group that `place` says, negated if it says so; group 0 stays empty.
    pub fn sorted(count: usize, groups: usize, place: impl Fn(usize) -> (usize, bool)) -> Self {
        let mut starts = vec![0u32; groups + 1];
        // Kept for the second pass: they are an eighth as long as what they are read from.
        let mut places = huge_pages::with_capacity(count);
        for index in 0..count {
            let (group, negative) = place(index);
            places.push(index_u32(group) << 1 | u32::from(negative));
            starts[group + 1] += u32::from(group > 0);
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut entries = huge_pages::filled(starts[groups] as usize, 0);
        for (index, place) in places.into_iter().enumerate() {
            let (group, negative) = ((place >> 1) as usize, place & 1);
            if group > 0 {
                entries[next[group] as usize] = entry(index) | negative;
                next[group] += 1;
            }
        }
        Self { entries, starts }
    }
}

fn index_u32(index: usize) -> u32 {
    assert!(index <= (u32::MAX >> 1) as usize, "points of one sum");
    index as u32
}

fn entry(index: usize) -> u32 {
    index_u32(index) << 1
}

/// The sum of each group; infinity for an empty one.
pub(super) fn sum_groups<A: PairAdder>(adder: &A, points: &[Point<A::Cell>], groups: Groups) -> Vec<Point<A::Cell>> {
    let longest = groups.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    if longest as usize <= TILE {
        return sum_short(adder, points, &groups.entries, &groups.starts);
    }
    let (mut starts, mut parts) = (vec![0], vec![0]);
    for pair in groups.starts.windows(2) {
        let mut start = pair[0];
        while start < pair[1] {
            start = pair[1].min(start + TILE as u32);
            starts.push(start);
        }
        parts.push(index_u32(starts.len() - 1));
    }
    let sums = sum_short(adder, points, &groups.entries, &starts);
    let entries = (0..sums.len()).map(entry).collect();
    sum_groups(adder, &sums, Groups { entries, starts: parts })
}

/// The same, for groups that fit a tile.
fn sum_short<A: PairAdder>(
    adder: &A,
    points: &[Point<A::Cell>],
    entries: &[u32],
    starts: &[u32],
) -> Vec<Point<A::Cell>> {
    let count = starts.len() - 1;
    let mut sums = huge_pages::filled(count, Point::default());
    let mut tiles = Vec::new();
    let (mut rest, mut first) = (&mut sums[..], 0);
    while first < count {
        let limit = starts[first] + TILE as u32;
        let last = first + starts[first + 1..=count].partition_point(|end| *end <= limit).max(1);
        let (tile, later) = rest.split_at_mut(last - first);
        tiles.push((&starts[first..=last], tile));
        (rest, first) = (later, last);
    }
    tiles.into_par_iter().for_each_init(
        || Tile::new(adder),
        |tile, (starts, sums)| {
            tile.sum(adder, points, entries, starts, sums);
        },
    );
    sums
}

/// A group while its tree is being built.
#[derive(Clone, Copy)]
struct Growing {
    group: u32,
    start: u32,
    count: u32,
}

/// Memory for the rounds of a tile.
struct Tile<A: PairAdder> {
    scratch: A::Scratch,
    pairs: Vec<Pair>,
    moves: Vec<(u32, u32)>,
    growing: Vec<Growing>,
    now: Vec<Point<A::Cell>>,
    next: Vec<Point<A::Cell>>,
}

impl<A: PairAdder> Tile<A> {
    fn new(_: &A) -> Self {
        Self {
            scratch: A::Scratch::default(),
            pairs: Vec::new(),
            moves: Vec::new(),
            growing: Vec::new(),
            now: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Sums the groups that `starts` bounds.
    fn sum(
        &mut self,
        adder: &A,
        points: &[Point<A::Cell>],
        entries: &[u32],
        starts: &[u32],
        sums: &mut [Point<A::Cell>],
    ) {
        self.growing.clear();
        self.growing.extend(
            starts.windows(2).enumerate().filter(|(_, pair)| pair[0] < pair[1]).map(|(group, pair)| Growing {
                group: group as u32,
                start: pair[0],
                count: pair[1] - pair[0],
            }),
        );
        let size = self.plan(|position| entries[position as usize]);
        self.next.resize(size, Point::default());
        adder.add_pairs(&mut self.scratch, points, &self.pairs, &mut self.next);
        for (from, to) in &self.moves {
            self.next[*to as usize] = signed(adder, &points[(from >> 1) as usize], from & 1 == 1);
        }
        self.finish(sums);
        while !self.growing.is_empty() {
            std::mem::swap(&mut self.now, &mut self.next);
            let size = self.plan(|position| position << 1);
            self.next.resize(size, Point::default());
            adder.add_pairs(&mut self.scratch, &self.now, &self.pairs, &mut self.next);
            for (from, to) in &self.moves {
                self.next[*to as usize] = self.now[(from >> 1) as usize];
            }
            self.finish(sums);
        }
    }

    /// Lists pairs and odd ones of this round, and what is left of each group. Returns the size of the next round.
    fn plan(&mut self, entry_at: impl Fn(u32) -> u32) -> usize {
        self.pairs.clear();
        self.moves.clear();
        let mut target = 0;
        for growing in &mut self.growing {
            let Growing { start, count, .. } = *growing;
            growing.start = target;
            growing.count = count.div_ceil(2);
            for position in (start..start + count - 1).step_by(2) {
                self.pairs.push(Pair { first: entry_at(position), second: entry_at(position + 1), target });
                target += 1;
            }
            if count % 2 == 1 {
                self.moves.push((entry_at(start + count - 1), target));
                target += 1;
            }
        }
        // Vectors must be full: the first pair again, its sum thrown away.
        if let Some(filler) = self.pairs.first().map(|pair| Pair { target, ..*pair }) {
            let full = self.pairs.len().next_multiple_of(A::PAIRS_MULTIPLE);
            self.pairs.resize(full, filler);
        }
        target as usize + 1
    }

    /// Hands out the sums of groups that are down to one point.
    fn finish(&mut self, sums: &mut [Point<A::Cell>]) {
        let next = &self.next;
        self.growing.retain(|growing| {
            if growing.count == 1 {
                sums[growing.group as usize] = next[growing.start as usize];
            }
            growing.count > 1
        });
    }
}

fn signed<A: PairAdder>(adder: &A, point: &Point<A::Cell>, negative: bool) -> Point<A::Cell> {
    if negative { adder.negated(point) } else { *point }
}
