// SPDX-License-Identifier: GPL-2.0

//! The kernel's own words for a refusal: the extended acknowledgement after an error or at the end of a list.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};

use super::attributes::Attributes;

/// `NLMSGERR_ATTR_MSG`.
const MESSAGE: u16 = 1;
const NETLINK_HEADER_BYTES: usize = 16;

/// The words after an error. `payload` begins with the header of the refused request, or with the whole request.
pub(super) fn of_error(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request_bytes = if flags & NLM_F_CAPPED == 0 {
        let length = payload.get(..4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(length)).ok()?
    } else {
        NETLINK_HEADER_BYTES
    };
    words(payload.get(request_bytes.checked_next_multiple_of(4)?..)?)
}

/// The words at the end of a list.
pub(super) fn of_end(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    words(payload)
}

fn words(bytes: &[u8]) -> Option<String> {
    let text = Attributes::parse(bytes).ok()?.text(MESSAGE)?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{bytes_of, text_attribute};
    use super::*;

    fn words_attribute(text: &str) -> Vec<u8> {
        bytes_of(&[text_attribute(MESSAGE, text).unwrap()])
    }

    fn refused_request(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length.next_multiple_of(4)];
        bytes[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
        bytes
    }

    #[test]
    fn words_follow_the_header_if_the_kernel_cut_the_request() {
        let mut payload = refused_request(300);
        payload.truncate(NETLINK_HEADER_BYTES);
        payload.extend(words_attribute("no such setting"));
        let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        assert_eq!(
            of_error(flags, &payload).as_deref(),
            Some("no such setting")
        );
    }

    #[test]
    fn words_follow_the_whole_request_if_the_kernel_did_not_cut_it() {
        let mut payload = refused_request(37);
        payload.extend(words_attribute("no node"));
        assert_eq!(
            of_error(NLM_F_ACK_TLVS, &payload).as_deref(),
            Some("no node")
        );
    }

    #[test]
    fn there_are_no_words_without_the_flag_or_in_too_few_bytes() {
        let payload = words_attribute("no node");
        assert_eq!(of_end(NLM_F_ACK_TLVS, &payload).as_deref(), Some("no node"));
        assert_eq!(of_end(0, &payload), None);
        assert_eq!(of_error(NLM_F_ACK_TLVS, &[1, 2]), None);
        assert_eq!(of_error(NLM_F_ACK_TLVS, &[255; 16]), None);
    }
}
