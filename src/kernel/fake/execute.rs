//! Dispatch of requests to the controller and to the IPVS family.

use super::{
    abi::{CTRL, CTRL_FAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_GETFAMILY, TOP, forms},
    replies::{self, Envelope},
    service::{self, ServiceId},
    state::{CountKey, State},
    wire::{Attributes, Errno, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, Writer},
};
use crate::codec::uapi::{command, top};

/// The result of a successful request.
pub(super) enum Executed {
    /// The request is complete. Its replies are written.
    Completed,
    /// The request starts a dump of this command, which is not acknowledged.
    DumpStarted(u8),
}

impl State {
    /// Executes a request and writes its reply. `dumping` says whether the socket has a dump in
    /// progress.
    pub(super) fn execute(
        &mut self,
        message: &Message<'_>,
        envelope: Envelope,
        dumping: bool,
        writer: &mut Writer,
    ) -> Result<Executed, Errno> {
        if message.kind == CTRL_FAMILY {
            self.resolve_family(message, envelope, writer)
        } else if Some(message.kind) == self.family {
            self.execute_ipvs(message, envelope, dumping, writer)
        } else {
            Err(libc::ENOENT)
        }
    }

    fn resolve_family(
        &self,
        message: &Message<'_>,
        envelope: Envelope,
        writer: &mut Writer,
    ) -> Result<Executed, Errno> {
        let (number, _) = message.genl().ok_or(libc::EINVAL)?;
        // The real controller can also list all families.
        if number != CTRL_GETFAMILY || message.is_dump() {
            return Err(libc::EOPNOTSUPP);
        }
        let attrs = Attributes::parse(message.attributes(), &CTRL)?;
        let found = match (attrs.text(CTRL_FAMILY_NAME), attrs.u16(CTRL_FAMILY_ID)) {
            (Some(name), _) => self.family_named(&name),
            (None, Some(id)) => self.family.filter(|family| *family == id),
            (None, None) => return Err(libc::EINVAL),
        };
        replies::family(writer, envelope, found.ok_or(libc::ENOENT)?);
        Ok(Executed::Completed)
    }

    fn execute_ipvs(
        &mut self,
        message: &Message<'_>,
        envelope: Envelope,
        dumping: bool,
        writer: &mut Writer,
    ) -> Result<Executed, Errno> {
        let (number, reserved) = message.genl().ok_or(libc::EINVAL)?;
        let usual = NLM_F_DUMP | NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO;
        if number > command::FLUSH && (reserved != 0 || message.flags & !usual != 0) {
            return Err(libc::EINVAL);
        }
        let (single, dump) = forms(number).ok_or(libc::EOPNOTSUPP)?;
        if !self.permitted {
            return Err(libc::EPERM);
        }
        if message.is_dump() {
            return match (dump, dumping) {
                (false, _) => Err(libc::EOPNOTSUPP),
                (true, true) => Err(libc::EBUSY),
                (true, false) => {
                    self.count(CountKey::Dump(number));
                    Ok(Executed::DumpStarted(number))
                }
            };
        }
        if !single {
            return Err(libc::EOPNOTSUPP);
        }

        let attrs = Attributes::parse(message.attributes(), &TOP)?;
        match number {
            command::GET_INFO => replies::info(writer, envelope, self.config.table_size),
            command::GET_CONFIG => replies::config(writer, envelope, &self.timeouts),
            command::GET_SERVICE => {
                let nest = attrs.nest(top::SERVICE, &service::POLICY)?;
                let id = ServiceId::parse(&nest, self.config.ipv6)?;
                let service = self.table.get(&id).ok_or(libc::ESRCH)?;
                replies::service(writer, envelope, service, self.config.hz);
            }
            _ => self.change(number, &attrs)?,
        }
        Ok(Executed::Completed)
    }
}
