//! Which servers of a service get no new connections.

use crate::model::{BelowMin, HealthCheck};

/// A server of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Whether its checks have failed, and nobody has forced it up.
    pub is_failing: bool,
    /// Whether it gets connections if its health is good: it has a weight, is not drained and not forced down.
    pub is_serving: bool,
    /// Whether its failure is part of a storm.
    pub is_in_storm: bool,
    /// Whether it gets no new connections already.
    pub was_held: bool,
    /// Whether its last check has succeeded: it is not taken out then, for example at the end of a storm.
    pub is_recovering: bool,
}

/// What is decided about the servers of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Which get no new connections, in the order of the members.
    pub held: Vec<bool>,
    /// Whether fewer servers are healthy than are to be.
    pub is_below_min: bool,
    /// Whether servers that fail are kept because of a storm.
    pub is_guarded: bool,
    /// Whether servers that fail are kept because too many were taken out lately.
    pub is_limited: bool,
}

/// Decides about the servers of a service. `was_below` is the last [`Decision::is_below_min`]: one more healthy
/// server than the least number ends it. `losses` is the number of servers that were taken out within the time in
/// which a failure is noticed.
pub fn decide(check: &HealthCheck, members: &[Member], was_below: bool, losses: usize) -> Decision {
    let healthy = members.iter();
    let healthy = healthy.filter(|member| member.is_serving && !member.is_failing);
    let healthy = healthy.count();
    let falls_back = check.below_min == Some(BelowMin::Fallback);
    let least = check.min_healthy.map_or(0, |min| min.of(members.len()));
    // A service without servers has none that is healthy.
    let least = least.min(members.len().max(usize::from(falls_back)));
    let is_below_min = match was_below && least > 0 && !falls_back {
        true => healthy < (least + 1).min(members.len()),
        false => healthy < least,
    };
    // In a storm, a service loses servers only if at least half of them are left, or others stand in for them.
    let is_guarding = healthy * 2 < members.len() && !(falls_back && is_below_min);
    let is_guarded = |member: &Member| is_guarding && member.is_failing && member.is_in_storm;
    let keeps_all = is_below_min && check.below_min == Some(BelowMin::KeepAll);
    let max_losses = check.max_losses.map(|max| max.of(members.len()));
    let mut left = max_losses.map_or(usize::MAX, |max| max.saturating_sub(losses));
    let mut is_limited = false;
    let is_held = |member: &Member| {
        if !member.is_failing || keeps_all || is_guarded(member) {
            return false;
        }
        if !member.was_held {
            if member.is_recovering {
                return false;
            }
            let rest = left.checked_sub(1);
            is_limited |= rest.is_none();
            left = rest.unwrap_or(0);
            return rest.is_some();
        }
        true
    };
    Decision {
        held: members.iter().map(is_held).collect(),
        is_below_min,
        is_guarded: members.iter().any(is_guarded),
        is_limited,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::server::tests::check, *};

    /// `u`: healthy, `d`: failing, `h`: failing and held, `s`: failing in a storm, `r`: recovering, `0`: healthy without
    /// connections.
    fn members(text: &str) -> Vec<Member> {
        let member = |word| Member {
            is_failing: matches!(word, 'd' | 'h' | 's' | 'r'),
            is_serving: word != '0',
            is_in_storm: word == 's',
            was_held: word == 'h',
            is_recovering: word == 'r',
        };
        text.chars().map(member).collect()
    }

    fn held(decision: &Decision) -> String {
        let words = decision.held.iter();
        words.map(|held| if *held { 'x' } else { '.' }).collect()
    }

    #[test]
    fn failing_servers_are_held_unless_too_few_are_left() {
        let none = json!({"type": "tcp"});
        let one = json!({"type": "tcp", "min_healthy": "1"});
        let half = json!({"type": "tcp", "min_healthy": "50%"});
        let last = json!({"type": "tcp", "min_healthy": "1", "below_min": "none"});
        let others = json!({"type": "tcp", "fallback_servers": [{"id": "10.0.9.1-80", "forwarding": "masquerade"}]});
        for (json, all, was_below, expected, is_below) in [
            (&none, "ud", false, ".x", false),
            (&none, "dd", false, "xx", false),
            (&none, "rd", false, ".x", false),
            (&one, "udd", false, ".xx", false),
            (&one, "ddd", false, "...", true),
            // One alone that returns does not take the connections of all.
            (&one, "udd", true, "...", true),
            (&one, "uud", true, "..x", false),
            (&one, "u", true, ".", false),
            (&last, "dd", false, "xx", true),
            (&others, "udd", false, ".xx", false),
            (&others, "ddd", false, "xxx", true),
            // The first that is back ends it.
            (&others, "udd", true, ".xx", false),
            (&others, "0", false, ".", true),
            (&others, "", false, "", true),
            (&half, "uudd", false, "..xx", false),
            (&half, "uddd", false, "....", true),
            (&half, "uudd", true, "....", true),
            (&half, "uuud", true, "...x", false),
            // Servers without weight do not count as healthy.
            (&one, "0d", false, "..", true),
        ] {
            let decision = decide(&check(json.clone()), &members(all), was_below, 0);
            let found = (held(&decision), decision.is_below_min);
            assert_eq!(
                found,
                (expected.to_owned(), is_below),
                "{json} {all} {was_below}"
            );
        }
    }

    #[test]
    fn a_storm_takes_at_most_half_of_the_servers() {
        let check = check(json!({"type": "tcp"}));
        for (all, expected, is_guarded) in [
            ("ssss", "....", true),
            ("usss", "....", true),
            ("uuss", "..xx", false),
            // What has failed by itself is held.
            ("dsss", "x...", true),
            ("s", ".", true),
        ] {
            let decision = decide(&check, &members(all), false, 0);
            let found = (held(&decision), decision.is_guarded);
            assert_eq!(found, (expected.to_owned(), is_guarded), "{all}");
        }
        let fallback = [json!({"id": "10.0.9.1-80", "forwarding": "masquerade"})];
        let check = super::super::server::tests::check(
            json!({"type": "tcp", "fallback_servers": fallback}),
        );
        for (all, expected, is_guarded) in [("ssss", "xxxx", false), ("usss", "....", true)] {
            let decision = decide(&check, &members(all), false, 0);
            let found = (held(&decision), decision.is_guarded);
            assert_eq!(found, (expected.to_owned(), is_guarded), "{all}");
        }
    }

    #[test]
    fn a_service_loses_no_more_servers_at_once_than_it_may() {
        for (max, all, losses, expected, is_limited) in [
            ("1", "uddd", 0, ".x..", true),
            ("1", "uhdd", 1, ".x..", true),
            // The time of the loss is over.
            ("1", "uhdd", 0, ".xx.", true),
            ("50%", "uddd", 0, ".xx.", true),
            ("50%", "uudd", 0, "..xx", false),
            ("50%", "uuhh", 2, "..xx", false),
        ] {
            let check = check(json!({"type": "tcp", "max_losses": max}));
            let decision = decide(&check, &members(all), false, losses);
            let found = (held(&decision), decision.is_limited);
            assert_eq!(
                found,
                (expected.to_owned(), is_limited),
                "{max} {all} {losses}"
            );
        }
    }
}
