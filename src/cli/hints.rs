//! Remedies for errors, in the words of ipvsctl.

use http::StatusCode;

use super::error::CliError;
use crate::{
    client::{CertificateFault, ClientCertificateFault, ClientError, Untrusted},
    model::Reason,
};

/// The text of an error with its remedy.
pub(super) fn describe(error: &CliError) -> String {
    let hint = match error {
        CliError::Client(error) => hint(error),
        _ => None,
    };
    match hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

fn hint(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::Refused(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let options = "ipvsctl: --token-file FILE, IPVSCTL_TOKEN, or --cert FILE --key FILE";
            match &problem.hint {
                Some(hint) => format!("{hint}; {options}"),
                None => options.to_owned(),
            }
        }
        ClientError::Refused(problem) => {
            let hint = problem.hint.clone()?;
            match problem.reason.known() {
                // The hints name parameters of the API.
                Some(Reason::ServiceOwned | Reason::TooManyDeletes) => hint
                    .replace("adopt=", "--adopt ")
                    .replace("then=", "--then ")
                    .replace("send max_deletes=", "--max-deletes "),
                _ => hint,
            }
        }
        ClientError::Denied { .. } => "root and the members of the group ipvsd may connect: \
             `usermod -aG ipvsd USER`, then log in again; or use a token: \
             --endpoint http://127.0.0.1:4787 --token-file FILE"
            .to_owned(),
        ClientError::InsecureToken { .. } => {
            "use https://, or --insecure-token to allow it".to_owned()
        }
        ClientError::Untrusted { source, .. } => untrusted(source),
        ClientError::ClientCertificate {
            fault: ClientCertificateFault::Required,
            ..
        } => "--cert FILE --key FILE".to_owned(),
        _ => return None,
    };
    Some(hint)
}

fn untrusted(error: &Untrusted) -> String {
    let Untrusted { fault, fingerprint } = error;
    match fault {
        CertificateFault::Name { .. } => format!(
            "use one of its names in --endpoint, or pin it: --fingerprint {fingerprint}, if that is \
             the fingerprint on the director"
        ),
        CertificateFault::UnknownCa => format!(
            "trust its CA with --ca FILE, or pin it: --fingerprint {fingerprint}, if that is the \
             fingerprint on the director"
        ),
        CertificateFault::Expired(_) => "renew it on the director".to_owned(),
        CertificateFault::NotYetValid(_) => "compare the clocks of both machines".to_owned(),
        CertificateFault::Pin { .. } => format!(
            "it has {fingerprint}: change --fingerprint if the director has a new certificate, and \
             that is its fingerprint there"
        ),
        CertificateFault::Other(_) => format!(
            "--fingerprint {fingerprint} accepts it, if that is the fingerprint on the director"
        ),
    }
}
