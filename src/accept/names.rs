//! What tokens and calls go by here: the carrier's name of the call, and whose it is.
//!
//! Each carrier names its own calls as it likes, so a name alone says nothing of whose call it is,
//! and a webhook that anybody may send would give out tokens for anybody's. Twilio's names stand as
//! they are; every other carrier's follow its label and a [`MARK`], which no name of Twilio's
//! holds. What an unproven webhook is answered is bound to the name behind one more [`MARK`]: such
//! a token opens what it opens, but vouches for nothing.
//!
//! | bound to | what opens it |
//! |---|---|
//! | `CA1` | a token of Twilio's call CA1 |
//! | `telnyx~CA1` | one of a call that Telnyx names so |
//! | `~CA1` | one of whoever asked unproven for Twilio's call CA1 |
//!
//! In:       a carrier, its name of a call.
//! Out:      the name that tokens are bound to, and promises, streams and endings are kept by.
//! Bounds:   as long as the carrier's name may be, label and all.
//! Not here: how a token is spelled (`wire::token`), who gets one (`accept::carrier`).

use std::borrow::Cow;

use super::carrier::NO_CALL;
use crate::config::Carrier;

/// Stands behind the carrier's label, and before what is unproven. It needs no escape in a query.
pub(super) const MARK: char = '~';

/// What the call that `carrier` names so goes by. No two carriers' calls share one.
pub(super) fn name_of(carrier: Carrier, call_sid: &str) -> Cow<'_, str> {
    match carrier {
        Carrier::Twilio if !call_sid.contains(MARK) => Cow::Borrowed(call_sid),
        _ => Cow::Owned(format!("{}{MARK}{call_sid}", carrier.label())),
    }
}

/// What the token of a call of this name is bound to. One that names no call vouches for nothing
/// anyway.
pub(super) fn bound_to(name: &str, proven: bool) -> Cow<'_, str> {
    match proven || name.starts_with(NO_CALL) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("{MARK}{name}")),
    }
}

/// The name of the call whose token is bound so.
pub(super) fn name_in(bound_to: &str) -> &str {
    bound_to.strip_prefix(MARK).unwrap_or(bound_to)
}

/// Whether a token says that an unproven webhook was answered with it. Only its own signature
/// makes that true.
pub(super) fn says_unproven(token: &str) -> bool {
    token.strip_prefix("v1.").is_some_and(|rest| rest.starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_carriers_call_is_taken_for_another_carriers() {
        let calls = ["CA1", "telnyx~CA1", "~CA1", "twilio~CA1", "~telnyx~CA1", "no-call-1", ""];
        let all = || {
            let each = |carrier| calls.map(|call| name_of(carrier, call).into_owned());
            Carrier::ALL.into_iter().flat_map(each)
        };
        let bound = |proven| all().map(move |name| bound_to(&name, proven).into_owned());
        let named = all().filter(|name| !name.starts_with(NO_CALL)).count();
        let mut names: Vec<String> = bound(true).chain(bound(false)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * named + 1);
        for name in all() {
            for proven in [false, true] {
                let bound = bound_to(&name, proven);
                assert_eq!(name_in(&bound), name);
                let unproven = !proven && !name.starts_with(NO_CALL);
                assert_eq!(says_unproven(&format!("v1.{bound}.1.ab")), unproven, "{bound}");
            }
        }
    }
}
