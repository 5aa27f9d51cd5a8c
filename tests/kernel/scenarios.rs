//! What ipvsadm did on a real kernel in recorded sessions, done over each way into ipvsd: refused
//! exactly where ipvsadm was, with the same result in the kernel, listed field by field.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{api::Way, cases::play};

macro_rules! over_each_way {
    ($($name:ident: $file:literal, at least $lines:literal, but $differences:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn is_the_same_by_the_use_cases() {
                assert!(play($file, Way::App, $differences) >= $lines);
            }

            #[test]
            fn is_the_same_over_http() {
                assert!(play($file, Way::Http, $differences) >= $lines);
            }

            #[test]
            fn is_the_same_over_grpc() {
                assert!(play($file, Way::Grpc, $differences) >= $lines);
            }
        }
    )*};
}

over_each_way! {
    every_kind_of_service_and_server: "services-matrix", at least 69, but &[];
    every_scheduler_and_its_flags: "schedulers", at least 30, but &[];
    sync_daemons: "daemons", at least 60, but &[];
    timeouts: "timeouts", at least 11, but &[];
}
