//! Settings of the fake kernel and of a real one: the same texts are accepted, and stored as the same
//! values.

use ipvsd::{
    executor::SettingsQuery,
    model::{Op, SETTINGS},
};

use super::{Both, change, read};
use crate::support::Namespace;

const TEXTS: [&str; 16] = [
    "0",
    "1",
    "2",
    "3",
    "2",
    "4",
    "-1",
    "64",
    "65",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "5 7",
    "7 5",
    "9 0",
    "x",
];

#[test]
fn settings_of_the_fake_kernel_have_the_same_values_as_real_ones() {
    Namespace::new().run(|| {
        let Both {
            runtime,
            real,
            fake,
            ..
        } = Both::start();
        let settings = runtime.block_on(read(&fake, SettingsQuery)).unwrap();
        for spec in SETTINGS {
            if !settings.contains_key(spec.name) {
                continue;
            }
            for text in TEXTS {
                let op = || Op::SetSetting {
                    name: spec.name,
                    text: text.to_owned(),
                };
                let outcomes = [&real, &fake].map(|executor| {
                    runtime.block_on(async {
                        let outcome = change(executor, &[op()]).await;
                        let after = read(executor, SettingsQuery).await.unwrap();
                        (outcome, after[spec.name].clone())
                    })
                });
                let [(real, real_value), (fake, fake_value)] = outcomes;
                assert_eq!(real, fake, "{} {text}", spec.name);
                // The default of some depends on the machine.
                if real.is_ok() {
                    assert_eq!(real_value, fake_value, "{} {text}", spec.name);
                }
            }
        }
    });
}
