//! Recorded sessions of ipvsadm on a real kernel, replayed over each interface of ipvsd: it rejects
//! exactly the commands that ipvsadm's kernel rejected, with the same state of the kernel, field by field.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{api::Interface, cases::replay};

macro_rules! over_each_interface {
    ($($name:ident: $file:literal, at least $lines:literal, but $differences:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn gives_the_same_by_the_use_cases() {
                assert!(replay($file, Interface::App, $differences) >= $lines);
            }

            #[test]
            fn gives_the_same_over_http() {
                assert!(replay($file, Interface::Http, $differences) >= $lines);
            }

            #[test]
            fn gives_the_same_over_grpc() {
                assert!(replay($file, Interface::Grpc, $differences) >= $lines);
            }
        }
    )*};
}

over_each_interface! {
    every_kind_of_service_and_server: "services-matrix", at least 69, but &[];
    every_scheduler_and_its_flags: "schedulers", at least 30, but &[];
    sync_daemons: "daemons", at least 60, but &[];
    timeouts: "timeouts", at least 11, but &[];
}
