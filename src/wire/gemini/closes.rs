//! What the model means by a close: its code and its words, as they were reported.
//!
//! In:       close code and reason text as sent; the text is cut at 123 bytes on its way.
//! Out:      a [`CloseClass`].
//! Not here: what follows from it, before the model is ready (`dial`) or during a call (`call`).

/// Why the model closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseClass {
    /// The key is wrong or expired.
    Key,
    /// A quota, of sessions or of tokens, is used up: another attempt only adds to it.
    Quota,
    /// No such model, not in this version of the interface, or not for this project.
    NotFound,
    /// A field that does not exist, or a resource spelt wrong: it stays wrong.
    Field,
    /// Something the model does not take, at this time or at all.
    Argument,
    /// An operation the model does not support, often for a short time only.
    Unsupported,
    /// Against a policy the text does not name.
    Policy,
    /// The service ended it, for reasons of its own.
    Aborted,
    /// The service is overloaded, or about to restart.
    Unavailable,
    /// The service did not answer itself in time.
    Deadline,
    /// A fault of the service.
    Internal,
    /// A normal end that nobody had asked for.
    Normal,
    /// The connection ended without a close.
    Lost,
    /// None of these.
    Other,
}

impl CloseClass {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// The labels of their counters, in their order.
    pub const LABELS: [&'static str; CloseClass::COUNT] = [
        "key",
        "quota",
        "not_found",
        "field",
        "argument",
        "unsupported",
        "policy",
        "aborted",
        "unavailable",
        "deadline",
        "internal",
        "normal",
        "lost",
        "other",
    ];

    /// By code and text. The text goes first where it is about quotas: those come with codes of
    /// faults that pass.
    pub fn of(code: Option<u16>, reason: &str) -> CloseClass {
        let text = reason.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["quota", "exceeded", "resource_exhausted"]) && !says(&["deadline"]) {
            return CloseClass::Quota;
        }
        match code {
            None => CloseClass::Lost,
            Some(1000) => CloseClass::Normal,
            Some(1001 | 1012 | 1013) => CloseClass::Unavailable,
            Some(1007 | 1008) if says(&["api key", "api_key", "unauthenticated"]) => {
                CloseClass::Key
            }
            Some(1007 | 1008) if says(&["not found", "does not have access"]) => {
                CloseClass::NotFound
            }
            Some(1007) if says(&["unknown name", "resource field"]) => CloseClass::Field,
            Some(1007) => CloseClass::Argument,
            Some(1008) if says(&["aborted"]) => CloseClass::Aborted,
            Some(1008) if says(&["not implemented"]) => CloseClass::Unsupported,
            Some(1008) => CloseClass::Policy,
            Some(1011) if says(&["unavailable"]) => CloseClass::Unavailable,
            Some(1011) if says(&["deadline"]) => CloseClass::Deadline,
            Some(1011) => CloseClass::Internal,
            Some(_) => CloseClass::Other,
        }
    }

    /// Whether the same request may be taken another time: a wrong key, model or field stays wrong.
    pub const fn may_pass(self) -> bool {
        match self {
            CloseClass::Key
            | CloseClass::Quota
            | CloseClass::NotFound
            | CloseClass::Field
            | CloseClass::Argument
            | CloseClass::Unsupported
            | CloseClass::Policy => false,
            CloseClass::Aborted
            | CloseClass::Unavailable
            | CloseClass::Deadline
            | CloseClass::Internal
            | CloseClass::Normal
            | CloseClass::Lost
            | CloseClass::Other => true,
        }
    }

    /// The label of its counter.
    pub const fn label(self) -> &'static str {
        CloseClass::LABELS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reported_close_has_its_class() {
        for (code, reason, class) in [
            (1007, "API key expired. Please renew the API key.", CloseClass::Key),
            (1007, "API key not valid. Please pass a valid API key.", CloseClass::Key),
            (1007, "Request contains an invalid argument.", CloseClass::Argument),
            (1007, "The audio content type (CONTENT_TYPE_AUDIO) is not", CloseClass::Argument),
            (1007, "Invalid resource field value", CloseClass::Field),
            (1007, "Unknown name \"toolConfig\" at 'setup'", CloseClass::Field),
            (1008, "models/X is not found for API version v1beta", CloseClass::NotFound),
            (1008, "Publisher Model was not found or your project", CloseClass::NotFound),
            (1008, "Operation is not implemented, or supported", CloseClass::Unsupported),
            (1008, "", CloseClass::Policy),
            (1008, "The operation was aborted.", CloseClass::Aborted),
            (1011, "Internal error encountered.", CloseClass::Internal),
            (1011, "Deadline expired before operation could complete.", CloseClass::Deadline),
            (1011, "The service is currently unavailable.", CloseClass::Unavailable),
            (1011, "You exceeded your current quota, please check", CloseClass::Quota),
            (1011, "RESOURCE_EXHAUSTED", CloseClass::Quota),
            (1000, "", CloseClass::Normal),
            (1001, "", CloseClass::Unavailable),
            (1012, "", CloseClass::Unavailable),
            (1013, "", CloseClass::Unavailable),
            (4000, "", CloseClass::Other),
        ] {
            assert_eq!(CloseClass::of(Some(code), reason), class, "{code} {reason}");
        }
        assert_eq!(CloseClass::of(None, ""), CloseClass::Lost);
    }

    #[test]
    fn every_class_has_a_label_of_its_own() {
        let labels = std::collections::BTreeSet::from(CloseClass::LABELS);
        assert_eq!(labels.len(), CloseClass::COUNT);
        assert_eq!(CloseClass::Other.label(), "other");
    }
}
