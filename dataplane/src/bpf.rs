//! Filters of captures: classic BPF, as libpcap compiles it.
//!
//! A program comes over the control socket, from a client that has libpcap; [`Program::new`] takes it only when
//! it must end, so the core that runs it ([`Program::takes`]) is bounded by its length: jumps go forward, the
//! last instruction returns, and nothing is read or written outside of the packet and 16 words. What lies beyond
//! a packet makes it one that is not wanted, as in the kernel.

/// Longest program: some microseconds for a burst at worst. What people write has a few dozen.
pub const INSTRUCTIONS_MAX: usize = 256;
/// Words of scratch memory.
const WORDS: usize = 16;

/// An instruction: opcode, jumps if true and if false, constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction(pub u16, pub u8, pub u8, pub u32);

/// Why a program is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing in it, or too much.
    #[error("a filter has 1 to {INSTRUCTIONS_MAX} instructions, not {0}")]
    Length(usize),
    /// An instruction that is none, or leads out of the program or its memory.
    #[error("instruction {0} of the filter is not one that may run")]
    Instruction(usize),
}

/// A program that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Box<[Instruction]>);

// Classes, in the lowest three bits.
const LD: u16 = 0;
const LDX: u16 = 1;
const ST: u16 = 2;
const STX: u16 = 3;
const ALU: u16 = 4;
const JMP: u16 = 5;
const RET: u16 = 6;
// Sizes and modes of loads.
const W: u16 = 0x00;
const H: u16 = 0x08;
const B: u16 = 0x10;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const MSH: u16 = 0xa0;
// Operand of arithmetic, jumps and returns.
const K: u16 = 0x00;
const X: u16 = 0x08;
const A: u16 = 0x10;
// Arithmetic.
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const MOD: u16 = 0x90;
const XOR: u16 = 0xa0;
// Jumps.
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
// Moves between A and X.
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

impl Program {
    /// Takes a program that is sure to end.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(instructions: &[Instruction]) -> Result<Self, Refused> {
        let count = instructions.len();
        if !(1..=INSTRUCTIONS_MAX).contains(&count) {
            return Err(Refused::Length(count));
        }
        let ends = |at: usize, ahead: u32| (ahead as usize) < count - at - 1;
        for (at, Instruction(code, jt, jf, k)) in instructions.iter().enumerate() {
            let is_good = match code & 7 {
                LD => match code & !7 {
                    IMM | LEN => true,
                    MEM => (*k as usize) < WORDS,
                    rest => matches!(rest & 0xe0, ABS | IND) && matches!(rest & 0x18, W | H | B),
                },
                LDX => match code & !7 {
                    IMM | LEN => true,
                    MEM => (*k as usize) < WORDS,
                    rest => rest == (MSH | B),
                },
                ST | STX => code & !7 == 0 && (*k as usize) < WORDS,
                ALU => match (code & 0xf0, code & X) {
                    (DIV | MOD, K) => *k != 0,
                    (NEG, operand) => operand == K,
                    (op, _) => op <= XOR && code & 0xff00 == 0,
                },
                JMP => match code & 0xf0 {
                    JA => code & X == K && ends(at, *k),
                    JEQ | JGT | JGE | JSET => ends(at, u32::from(*jt)) && ends(at, u32::from(*jf)),
                    _ => false,
                },
                RET => matches!(code & !7, K | A),
                _ => matches!(code & !7, TAX | TXA),
            };
            if !is_good || *code > 0xff {
                return Err(Refused::Instruction(at));
            }
        }
        match instructions.last() {
            Some(Instruction(code, ..)) if code & 7 == RET => Ok(Self(instructions.into())),
            _ => Err(Refused::Instruction(count - 1)),
        }
    }

    /// How many there are: it runs no more of them.
    pub fn instructions(&self) -> usize {
        self.0.len()
    }

    /// Whether a packet of `len` bytes that begins with `bytes` is wanted.
    pub fn takes(&self, bytes: &[u8], len: u32) -> bool {
        self.run(bytes, len).is_some_and(|kept| kept > 0)
    }

    /// What it returns; `None`: it reads beyond the packet, or divides by zero.
    fn run(&self, bytes: &[u8], len: u32) -> Option<u32> {
        let (mut a, mut x, mut words) = (0_u32, 0_u32, [0_u32; WORDS]);
        let mut at = 0;
        // It ends: every turn goes forward, and the last instruction returns.
        loop {
            let Instruction(code, jt, jf, k) = *self.0.get(at)?;
            at += 1;
            match code & 7 {
                LD => {
                    a = match code & 0xe0 {
                        IMM => k,
                        ABS => load(bytes, k, code & 0x18)?,
                        IND => load(bytes, x.checked_add(k)?, code & 0x18)?,
                        MEM => words[k as usize % WORDS],
                        _ => len,
                    }
                }
                LDX => {
                    x = match code & 0xe0 {
                        IMM => k,
                        MEM => words[k as usize % WORDS],
                        MSH => 4 * (load(bytes, k, B)? & 15),
                        _ => len,
                    }
                }
                ST => words[k as usize % WORDS] = a,
                STX => words[k as usize % WORDS] = x,
                ALU => a = compute(code & 0xf0, a, if code & X == 0 { k } else { x })?,
                JMP => {
                    let operand = if code & X == 0 { k } else { x };
                    let holds = match code & 0xf0 {
                        JA => {
                            at += k as usize;
                            continue;
                        }
                        JEQ => a == operand,
                        JGT => a > operand,
                        JGE => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if holds { jt } else { jf });
                }
                RET => return Some(if code & 0x18 == A { a } else { k }),
                _ if code & 0xf8 == TAX => x = a,
                _ => a = x,
            }
        }
    }
}

fn load(bytes: &[u8], at: u32, size: u16) -> Option<u32> {
    let rest = bytes.get(at as usize..)?;
    match size {
        W => rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)),
        H => rest.first_chunk().map(|bytes| u32::from(u16::from_be_bytes(*bytes))),
        _ => rest.first().map(|byte| u32::from(*byte)),
    }
}

fn compute(op: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match op {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        OR => a | operand,
        AND => a & operand,
        LSH => a.checked_shl(operand).unwrap_or(0),
        RSH => a.checked_shr(operand).unwrap_or(0),
        NEG => a.wrapping_neg(),
        MOD => a.checked_rem(operand)?,
        _ => a ^ operand,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `udp dst port 7000`, as tcpdump -ddd writes it for Ethernet.
    const UDP_7000: [Instruction; 13] = [
        Instruction(0x28, 0, 0, 12),
        Instruction(0x15, 0, 4, 0x86dd),
        Instruction(0x30, 0, 0, 20),
        Instruction(0x15, 0, 8, 17),
        Instruction(0x28, 0, 0, 56),
        Instruction(0x15, 5, 6, 7000),
        Instruction(0x15, 0, 5, 0x800),
        Instruction(0x30, 0, 0, 23),
        Instruction(0x15, 0, 3, 17),
        Instruction(0xb1, 0, 0, 14),
        Instruction(0x48, 0, 0, 16),
        Instruction(0x15, 0, 1, 7000),
        Instruction(0x06, 0, 0, 262_144),
    ];

    fn udp(port: u16) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 17;
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame
    }

    fn with_no(instructions: &[Instruction]) -> Vec<Instruction> {
        [instructions, &[Instruction(0x06, 0, 0, 0)]].concat()
    }

    #[test]
    fn a_filter_takes_what_it_says() {
        let program = Program::new(&with_no(&UDP_7000)).unwrap();
        assert!(program.takes(&udp(7000), 60));
        assert!(!program.takes(&udp(7001), 60));
        assert!(!program.takes(&udp(7000)[..37], 60), "it ends inside of the port");
        assert!(!program.takes(&[], 0));
    }

    #[test]
    fn what_need_not_end_or_leads_outside_is_refused() {
        let ret = Instruction(0x06, 0, 0, 1);
        for (wrong, at) in [
            (Instruction(0x05, 0, 0, 1), 0),        // jumps out
            (Instruction(0x05, 0, 0, u32::MAX), 0), // back
            (Instruction(0x15, 0, 1, 7), 0),
            (Instruction(0x60, 0, 0, 16), 0), // no such word
            (Instruction(0x02, 0, 0, 99), 0),
            (Instruction(0x34, 0, 0, 0), 0), // by zero
            (Instruction(0x38, 0, 0, 0), 0), // no such size
            (Instruction(0xffff, 0, 0, 0), 0),
            (Instruction(0x1028, 0, 0, 0), 0),
            (Instruction(0xb4, 0, 0, 0), 0), // no such sum
        ] {
            assert_eq!(Program::new(&[wrong, ret]), Err(Refused::Instruction(at)), "{wrong:?}");
        }
        let load = Instruction(0x28, 0, 0, 12);
        assert_eq!(Program::new(&[ret, load]), Err(Refused::Instruction(1)), "it runs off its end");
        assert_eq!(Program::new(&[]), Err(Refused::Length(0)));
        assert_eq!(Program::new(&[ret; 257]), Err(Refused::Length(257)));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_ends_on_whatever_packet(
            code in prop::collection::vec((0_u16..256, 0_u8..4, 0_u8..4, prop_oneof![0_u32..20, any::<u32>()]), 1..40),
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            len in any::<u32>(),
        ) {
            // Those that are none left out, nearly every program is one.
            let good = |i: &Instruction| Program::new(&[*i, Instruction(6, 0, 0, 0)]).is_ok()
                || i.0 & 7 == JMP;
            let mut code: Vec<_> =
                code.into_iter().map(|(c, t, f, k)| Instruction(c, t, f, k)).filter(good).collect();
            code.extend([Instruction(0x16, 0, 0, 0); 4]);
            if let Ok(program) = Program::new(&code) {
                program.takes(&bytes, len);
            }
        }
    }
}
