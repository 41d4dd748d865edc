//! Chains of elementwise operations as one program over registers.
//!
//! A register holds one block of elements. The program runs once for each block of the results, so
//! that what lies between operations stays in the nearest cache. Flags are 0 and 1 there, integers
//! are read as floating-point numbers; results are converted when they are stored.

mod compile;
mod function;

pub(in crate::runtime::cpu) use compile::{build, function, takes};

use super::Io;
use crate::runtime::cpu::blocks::{self, simd};
use crate::runtime::cpu::buffers::{Buffers, Kind, Place};
use crate::runtime::cpu::schedule::CHAIN;
use crate::runtime::cpu::strided::View;
use function::{Binary, Unary};

/// Elements of a block.
const BLOCK: usize = 256;

/// Registers of a program: results that wait, and operands of one operation.
const REGISTERS: usize = 32;

/// Elements below which work is not shared.
const GRAIN: usize = 32 * BLOCK;

/// Registers of programs that need no more.
const FEW: usize = 16;

type Register = [f32; BLOCK];

/// A value that lies in memory.
struct Operand {
    place: Place,
    view: View,
}

/// One instruction; `to` is a register that it does not read.
enum Instruction {
    Load {
        operand: usize,
        to: usize,
    },
    Unary {
        f: Unary,
        x: usize,
        to: usize,
    },
    Binary {
        f: Binary,
        x: usize,
        y: usize,
        to: usize,
    },
    /// `a` where `condition` is not 0, else `b`.
    Select {
        condition: usize,
        a: usize,
        b: usize,
        to: usize,
    },
}

#[derive(Default)]
struct Program {
    operands: Vec<Operand>,
    /// Loaded once: operands of one element.
    before: Vec<Instruction>,
    code: Vec<Instruction>,
    /// The register of each result.
    results: Vec<usize>,
    /// How many there are.
    registers: usize,
}

/// Where results go.
#[derive(Default)]
enum Out<'a> {
    Float(&'a mut [f32]),
    Int(&'a mut [i32]),
    Bool(&'a mut [bool]),
    Code(&'a mut [i8]),
    #[default]
    Nowhere,
}

type Outs<'a> = [Out<'a>; CHAIN];

impl Instruction {
    /// The register that it writes.
    fn to(&self) -> usize {
        match *self {
            Self::Load { to, .. }
            | Self::Unary { to, .. }
            | Self::Binary { to, .. }
            | Self::Select { to, .. } => to,
        }
    }
}

impl Program {
    fn run(&self, io: &mut Io<'_>, len: usize) {
        let mut outs: Outs<'_> = Default::default();
        for (out, buffer) in outs.iter_mut().zip(io.outputs.iter_mut()) {
            *out = match buffer.extent().0 {
                Kind::Float => Out::Float(buffer.floats_mut(len)),
                Kind::Int => Out::Int(buffer.ints_mut(len)),
                Kind::Bool => Out::Bool(buffer.bools_mut(len)),
                Kind::Code => Out::Code(buffer.codes_mut(len)),
            };
        }
        self.share(io.buffers, outs, 0, len);
    }

    /// Halves the work until a piece is small enough for one thread.
    fn share(&self, buffers: &Buffers, mut outs: Outs<'_>, start: usize, len: usize) {
        if len <= GRAIN || !blocks::shared() {
            return self.blocks(buffers, &mut outs, start, len);
        }
        let half = (len / 2).next_multiple_of(BLOCK);
        let mut rest: Outs<'_> = Default::default();
        for (out, rest) in outs.iter_mut().zip(&mut rest) {
            (*out, *rest) = std::mem::take(out).split(half);
        }
        rayon::join(
            || self.share(buffers, outs, start, half),
            || self.share(buffers, rest, start + half, len - half),
        );
    }

    fn blocks(&self, buffers: &Buffers, outs: &mut Outs<'_>, start: usize, len: usize) {
        // Most programs need few, and each is filled before it is used.
        let (mut few, mut all);
        let registers: &mut [Register] = if self.registers <= FEW {
            few = [[0.0; BLOCK]; FEW];
            &mut few
        } else {
            all = [[0.0; BLOCK]; REGISTERS];
            &mut all
        };
        let (mut done, mut before) = (0, &self.before[..]);
        while done < len {
            let now = BLOCK.min(len - done);
            for instruction in std::mem::take(&mut before).iter().chain(&self.code) {
                self.step(instruction, buffers, registers, start + done, now);
            }
            for (out, &register) in outs.iter_mut().zip(&self.results) {
                out.store(done, &registers[register][..now]);
            }
            done += now;
        }
    }

    /// All instructions work on whole blocks, of which only the first `len` elements mean anything:
    /// loops of constant length are the faster ones.
    fn step(
        &self,
        instruction: &Instruction,
        buffers: &Buffers,
        registers: &mut [Register],
        start: usize,
        len: usize,
    ) {
        match *instruction {
            Instruction::Load { operand, to } => {
                let Operand { place, view } = &self.operands[operand];
                // What is loaded once is one element, which later blocks need in full.
                let to =
                    if view.is_one() { &mut registers[to][..] } else { &mut registers[to][..len] };
                match place.kind {
                    Kind::Float => view.read(buffers.floats(*place), start, to, 0, |x| x),
                    Kind::Int => view.read(buffers.ints(*place), start, to, 0, |x| x as f32),
                    Kind::Bool => {
                        view.read(buffers.bools(*place), start, to, 0, |x| f32::from(u8::from(x)));
                    }
                    Kind::Code => view.read(buffers.codes(*place), start, to, 0, f32::from),
                }
            }
            Instruction::Unary { f, x, to } => {
                let (to, [x]) = split(registers, to, [x]);
                f.apply(x, to);
            }
            Instruction::Binary { f, x, y, to } => {
                let (to, [x, y]) = split(registers, to, [x, y]);
                f.apply(x, y, to);
            }
            Instruction::Select { condition, a, b, to } => {
                let (to, [condition, a, b]) = split(registers, to, [condition, a, b]);
                for i in 0..BLOCK {
                    to[i] = if condition[i] != 0.0 { a[i] } else { b[i] };
                }
            }
        }
    }
}

/// One register to write and others to read.
fn split<const N: usize>(
    registers: &mut [Register],
    to: usize,
    read: [usize; N],
) -> (&mut Register, [&Register; N]) {
    let (below, rest) = registers.split_at_mut(to);
    let (to, above) = rest.split_first_mut().expect("a register");
    let (below, above) = (&*below, &*above);
    let find = |i: usize| if i < below.len() { &below[i] } else { &above[i - below.len() - 1] };
    (to, read.map(find))
}

impl Out<'_> {
    fn split(self, at: usize) -> (Self, Self) {
        match self {
            Self::Float(all) => {
                let (a, b) = all.split_at_mut(at);
                (Self::Float(a), Self::Float(b))
            }
            Self::Int(all) => {
                let (a, b) = all.split_at_mut(at);
                (Self::Int(a), Self::Int(b))
            }
            Self::Bool(all) => {
                let (a, b) = all.split_at_mut(at);
                (Self::Bool(a), Self::Bool(b))
            }
            Self::Code(all) => {
                let (a, b) = all.split_at_mut(at);
                (Self::Code(a), Self::Code(b))
            }
            Self::Nowhere => (Self::Nowhere, Self::Nowhere),
        }
    }

    fn store(&mut self, at: usize, block: &[f32]) {
        let end = at + block.len();
        match self {
            Self::Float(all) => all[at..end].copy_from_slice(block),
            Self::Int(all) => {
                all[at..end].iter_mut().zip(block).for_each(|(to, &x)| *to = x as i32)
            }
            Self::Bool(all) => {
                all[at..end].iter_mut().zip(block).for_each(|(to, &x)| *to = x != 0.0);
            }
            Self::Code(all) => {
                let all = &mut all[at..end];
                simd(
                    #[inline(always)]
                    || {
                        for (to, &x) in all.iter_mut().zip(block) {
                            // Codes are integers: added to 1.5 · 2²³ they stand in the lowest bits.
                            *to = (x + 12_582_912.0).to_bits() as i8;
                        }
                    },
                );
            }
            Self::Nowhere => {}
        }
    }
}
