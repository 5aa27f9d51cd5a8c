//! The ids of a trace, and the header `traceparent` of W3C Trace Context: the span of the caller.

/// The span of the caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The id of the trace, not 0.
    pub trace_id: u128,
    /// The id of the caller's span, not 0.
    pub span_id: u64,
    /// Whether the caller records the trace.
    pub is_sampled: bool,
}

/// The ids of a trace in the log. Formatted as in `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// The id of the trace.
    pub trace_id: u128,
    /// The id of the daemon's span, if it makes one.
    pub span_id: Option<u64>,
}

/// The length of `00-TRACE-SPAN-FLAGS`, in bytes.
const LENGTH: usize = 55;

/// The bit of the flags that says that the caller records.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// Parses the value of a header. `None`: it is to be ignored. A value of a later version may have more
    /// fields, which are ignored (section 4.3 of the recommendation).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let version: u8 = hex(known.get(..2)?)?.try_into().ok()?;
        let is_whole = match version {
            0 => rest.is_empty(),
            u8::MAX => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let are_separated = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
        if !(is_whole && are_separated) {
            return None;
        }
        let parent = Self {
            trace_id: hex(known.get(3..35)?)?,
            span_id: hex(known.get(36..52)?)?.try_into().ok()?,
            is_sampled: u8::try_from(hex(known.get(53..)?)?).ok()? & SAMPLED != 0,
        };
        (parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

/// The number that lower case digits of base 16 make; at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_recommendation_is_parsed() {
        let parent = TraceParent {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            is_sampled: true,
        };
        assert_eq!(parse(VALID), Some(parent));
        let unsampled = TraceParent {
            is_sampled: false,
            ..parent
        };
        for flags in ["00", "02", "fe"] {
            let text = format!("{}{flags}", &VALID[..53]);
            assert_eq!(parse(&text), Some(unsampled), "{text}");
        }
        // Later versions may have more.
        for text in [
            VALID.replacen("00", "01", 1),
            format!("cc{}-what-the-future-brings", &VALID[2..]),
        ] {
            assert_eq!(parse(&text), Some(parent), "{text}");
        }
    }

    #[test]
    fn invalid_values_are_ignored() {
        for text in [
            String::new(),
            "00".to_owned(),
            VALID[..54].to_owned(),
            // Version 0 has nothing more.
            format!("{VALID}-00"),
            format!("{VALID} "),
            format!("cc{}.", &VALID[2..]),
            // The version ff is invalid.
            format!("ff{}", &VALID[2..]),
            VALID.replace('-', "_"),
            VALID.to_uppercase(),
            VALID.replace("4b", "4g"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALID.replace("4bf9", "é9"),
        ] {
            assert_eq!(parse(&text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            TraceParent::parse(&bytes);
        }

        #[test]
        fn ids_are_kept(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, flags in any::<u8>()) {
            let text = format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
            let expected = TraceParent { trace_id, span_id, is_sampled: flags & 1 == 1 };
            prop_assert_eq!(parse(&text), Some(expected));
        }
    }
}
