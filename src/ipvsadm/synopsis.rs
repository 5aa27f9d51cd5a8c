//! Usage lines, generated from the tables with which the parser works.

use super::{
    compat::Compat,
    option::{Meaning, Opt},
    option_table::{OPTIONS, OptionSpec},
};

/// The usage of each command, without the program's name: `-d SERVICE -r ADDRESS`.
pub fn synopses() -> impl Iterator<Item = String> {
    OPTIONS
        .iter()
        .filter(|spec| spec.is_command())
        .map(synopsis)
}

/// The options for which [`synopses`] uses `SERVICE`.
pub fn service_synopsis() -> String {
    let marks = OPTIONS.iter().filter(|spec| spec.meaning == Meaning::Ipv6);
    let suffix: Vec<_> = marks.map(|spec| format!(" [{}]", spec.usage())).collect();
    alternatives(Opt::Service) + &suffix.concat()
}

fn synopsis(spec: &OptionSpec) -> String {
    let mut text = spec.usage();
    let Meaning::Command(command) = spec.meaning else {
        return text;
    };
    let Compat {
        required,
        optional,
        exclusive,
        ignored: _,
    } = Compat::of_command(command);
    for opt in required.iter() {
        text += &format!(" {}", usage(opt));
    }
    let exclusive: Vec<_> = exclusive.iter().map(usage).collect();
    if !exclusive.is_empty() {
        text += &format!(" [{}]", exclusive.join("|"));
    }
    for opt in optional.iter() {
        text += &format!(" [{}]", usage(opt));
    }
    text
}

fn usage(opt: Opt) -> String {
    match opt {
        Opt::Service => "SERVICE".to_owned(),
        _ => alternatives(opt),
    }
}

/// The words that set `opt`: `-g|-i|-m`.
fn alternatives(opt: Opt) -> String {
    let words: Vec<_> = OptionSpec::of(opt).map(OptionSpec::usage).collect();
    words.join("|")
}
