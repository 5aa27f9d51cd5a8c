//! `ipvsctl convert`: the text of ipvsadm-save, or the virtual servers of a keepalived.conf, as a file for
//! `ipvsctl apply`. Sends nothing.

use std::path::Path;

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{
    conversion::{Conversion, Place},
    document,
    error::CliError,
    export, input, keepalived,
    names::SystemResolver,
    options::Options,
    output::{Stdout, eprint_line},
    table_args::{ConvertArgs, Format},
};
use crate::{
    ipvsadm::Resolver,
    model::{ServerConfigView, ServiceDraft, ServiceView, TargetService},
};

/// Prints the table of a file, and reports to standard error what it does not have.
pub(super) fn run(args: ConvertArgs, options: &Options, out: &mut Stdout) -> Result<(), CliError> {
    let (name, text) = input::named(&args.file)?;
    let mut conversion = Conversion::new(name);
    match args.from.or_else(|| detect(&text)) {
        Some(Format::Ipvsadm) => ipvsadm(&text, &mut conversion, &SystemResolver::default())?,
        Some(Format::Keepalived) => {
            // The files that standard input includes are in the current directory.
            let directory = args.file.parent().unwrap_or(Path::new(""));
            keepalived::read(&text, directory, args.config_id.as_deref(), &mut conversion)?;
        }
        None => {}
    }
    let services = services(&mut conversion)?;
    let notes = conversion.notes();
    for note in &notes.lines {
        eprint_line(note);
    }
    if services.is_empty() {
        // A file without services would delete all that the owner has.
        return Err(CliError::NothingToConvert(conversion.into_name()));
    }
    if args.strict && notes.total > 0 {
        return Err(CliError::NotConverted(notes.total));
    }
    let others = Mapping::new();
    export::write_document(args.owner.as_ref(), others, services, options.format, out)
}

/// The format by the first line that is neither empty nor a comment; `None` if there is no such line.
fn detect(text: &str) -> Option<Format> {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with(['#', '!']))?;
    let is_command = line.starts_with('-') || line.split_whitespace().next() == Some("ipvsadm");
    Some(match is_command {
        true => Format::Ipvsadm,
        false => Format::Keepalived,
    })
}

/// Executes command lines on the table.
fn ipvsadm(
    text: &str,
    conversion: &mut Conversion,
    resolver: &dyn Resolver,
) -> Result<(), CliError> {
    document::changes(text, resolver, |line, op, _| {
        let place = Place::of_line(line.number);
        if op.makes_table() {
            let applied = conversion.apply(&op, place);
            return Ok(applied.err().map(|error| error.detail));
        }
        let command = line.words.first().copied().unwrap_or_default();
        conversion.note(place, &format!("{command} makes no service: left out"));
        Ok(None)
    })
}

/// The services as a table file has them. What an apply would refuse is left out.
fn services(conversion: &mut Conversion) -> Result<Vec<Value>, CliError> {
    let mut services = Vec::new();
    for mut service in conversion.take_services() {
        let key = service.key;
        let draft = draft(&service)?;
        if let Err(error) = draft.create(key) {
            conversion.leave_out(service.origin, &key.to_string(), &error);
            continue;
        }
        let mut drafts = draft.servers.into_iter().flatten();
        // In the order of the document, the kernel's.
        service.servers.reverse();
        service.servers.retain(|server| {
            let draft = drafts.next().unwrap_or_default();
            let refused = draft.new_server(key).err();
            if let Some(error) = &refused {
                let name = format!("{key} {}", server.key);
                conversion.leave_out(server.origin, &name, error);
            }
            refused.is_none()
        });
        service.servers.reverse();
        services.push(document_of(&service)?);
    }
    Ok(services)
}

/// What an apply reads of a service.
fn draft(service: &TargetService) -> Result<ServiceDraft, CliError> {
    Ok(ServiceDraft::deserialize(document_of(service)?)?)
}

/// A service as a table file has it, with its servers in the kernel's order: it inserts a new one before the
/// others.
fn document_of(service: &TargetService) -> Result<Value, CliError> {
    let mut document = yaml_serde::to_value(ServiceView::declared(service))?;
    let servers = service.servers.iter().rev();
    let servers: Result<Vec<_>, _> = servers
        .map(|server| yaml_serde::to_value(ServerConfigView::new(server.key, &server.config)))
        .collect();
    if let Some(members) = document.as_mapping_mut() {
        members.insert("servers".into(), Value::Sequence(servers?));
    }
    Ok(export::configuration(document))
}
