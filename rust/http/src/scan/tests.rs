//! The levels against each other and against the classes said in other words.

use proptest::prelude::*;

use super::*;

const CLASSES: [Class; 6] = [
    Class::Stop,
    Class::Colon,
    Class::Question,
    Class::NotTarget,
    Class::NotPlainName,
    Class::NotPlainHost,
];

/// What the classes are, said one byte at a time and in other words.
fn in_class(class: Class, byte: u8) -> bool {
    let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match class {
        Class::Stop => byte.is_ascii_control() && byte != b'\t',
        Class::Colon => byte == b':',
        Class::Question => byte == b'?',
        Class::NotTarget => !byte.is_ascii_graphic() || byte == b'#',
        Class::NotPlainName => !token || byte == b'_',
        Class::NotPlainHost => !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'),
    }
}

/// Runs one comparison at every level that this machine has.
macro_rules! at_every_level {
    ($level:ident => $body:expr) => {{
        let $level = Portable;
        $body;
        let $level = BASELINE;
        $body;
        #[cfg(target_arch = "x86_64")]
        if let Some($level) = x86::Avx2::detect() {
            $body;
        }
    }};
}

#[test]
fn every_byte_at_every_place_is_classified_alike_at_every_level() {
    for byte in 0..=255u8 {
        for place in 0..32 {
            // Beside a byte of no class, and beside one of most classes.
            for beside in [b'a', 0] {
                let mut block = [beside; 32];
                block[place] = byte;
                for wanted in CLASSES {
                    let rest = if in_class(wanted, beside) {
                        !(1 << place)
                    } else {
                        0
                    };
                    let expected = rest | u32::from(in_class(wanted, byte)) << place;
                    at_every_level!(level => assert_eq!(class(level, wanted, level.load(&block)), expected, "{wanted:?} {byte:#x}"));
                }
            }
        }
    }
}

#[test]
fn spellings_are_compared_alike_at_every_level() {
    for lower in b"az-2:" {
        let letters = if lower.is_ascii_lowercase() { 0x20 } else { 0 };
        for byte in 0..=255u8 {
            let expected = if byte.eq_ignore_ascii_case(lower) {
                0
            } else {
                u32::MAX
            };
            at_every_level!(level => {
                assert_eq!(unlike(level, level.load(&[byte; 32]), &[*lower; 32], &[letters; 32]), expected);
            });
        }
    }
}

proptest! {
    #[test]
    fn stops_are_found_from_every_place_of_any_input(
        input in prop::collection::vec(prop_oneof![9 => any::<u8>(), 1 => Just(b'\r')], 0..300),
        from in 0..300usize,
    ) {
        let whole = Input::new(&input);
        let expected: Vec<usize> = (from..input.len()).filter(|i| in_class(Class::Stop, input[*i])).collect();
        at_every_level!(level => {
            let mut stops = Stops::new(level, &whole, from);
            for stop in &expected {
                prop_assert_eq!(stops.next(), *stop);
            }
            prop_assert!(stops.next() >= input.len());
        });
        prop_assert_eq!(has_stop(&input), input.iter().any(|byte| in_class(Class::Stop, *byte)));
    }

    #[test]
    fn a_class_is_found_up_to_the_end_of_any_input(
        input in prop::collection::vec(any::<u8>(), 0..100), at in 0..110usize,
    ) {
        let whole = Input::new(&input);
        for wanted in CLASSES {
            let expected = input.iter().skip(at).take(32).enumerate()
                .fold(0, |mask, (i, byte)| mask | u32::from(in_class(wanted, *byte)) << i);
            at_every_level!(level => prop_assert_eq!(class(level, wanted, level.load(whole.block(at))), expected));
        }
    }
}
