//! Until when a certificate is good, and what is said before it is not any more. Times are milliseconds since 1970.

use pkcs8::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use pkcs8::der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls::pki_types::CertificateDer;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY: i64 = 24 * 3_600_000;

/// So long before its end a certificate is spoken of.
const SOON: i64 = 30 * DAY;

/// When the first certificate of a chain ends: from then on nobody who checks it connects. `None`: none says when.
pub(crate) fn of_chain(chain: &[CertificateDer<'_>]) -> Option<i64> {
    chain.iter().filter_map(|certificate| of(certificate)).min()
}

/// `notAfter` of a certificate (RFC 5280, 4.1).
fn of(certificate: &[u8]) -> Option<i64> {
    let to_be_signed = elements(AnyRef::from_der(certificate).ok()?.value()).next()?;
    // A version may stand first, with a tag of its own; serial number, algorithm and issuer do.
    let mut fields = elements(to_be_signed.value()).skip_while(|field| field.tag() != Tag::Integer);
    let not_after = elements(fields.nth(3)?.value()).nth(1)?;
    let since_1970 = match not_after.tag() {
        Tag::UtcTime => not_after.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        Tag::GeneralizedTime => not_after.decode_as::<GeneralizedTime>().ok()?.to_unix_duration(),
        _ => return None,
    };
    i64::try_from(since_1970.as_millis()).ok()
}

/// The elements of a sequence, as far as they can be read.
fn elements(bytes: &[u8]) -> impl Iterator<Item = AnyRef<'_>> {
    let mut reader = SliceReader::new(bytes).ok();
    std::iter::from_fn(move || {
        let reader = reader.as_mut().filter(|reader| !reader.is_finished())?;
        AnyRef::decode(reader).ok()
    })
}

/// What is to be said now of a certificate that ends then. `None`: there is time.
pub(crate) fn warning_now(ends: i64) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    warning(ends, now)
}

fn warning(ends: i64, now: i64) -> Option<String> {
    const HELP: &str =
        "put a new one in its place (`cometmq tls init DIR --renew`), it is taken over without a restart";
    let left = ends - now;
    if left > SOON {
        return None;
    }
    let days = left.abs() / DAY;
    Some(match left > 0 {
        true => format!(
            "this server's certificate expires in {days} days; from then on no client that checks it connects: {HELP}"
        ),
        false => format!(
            "this server's certificate has expired {days} days ago, and no client that checks it connects: {HELP}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> CertificateDer<'static> {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 3, 1);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_end_of_a_chain_is_that_of_its_first_certificate_to_end() {
        let at = |seconds: i64| Some(seconds * 1000);
        // In the two ways in which a certificate may write it.
        assert_eq!(of(&certificate(2030)), at(1_898_553_600));
        assert_eq!(of(&certificate(2060)), at(2_845_324_800));
        assert_eq!(of_chain(&[certificate(2060), certificate(2030)]), at(1_898_553_600));
        assert_eq!(of_chain(&[]), None);
    }

    #[test]
    fn nonsense_ends_at_no_time() {
        let good = certificate(2030);
        for cut in 0..good.len().min(200) {
            assert_eq!(of(&good[..cut]), None);
        }
        assert_eq!(of(&[0x30, 0x80, 0xff, 0xff]), None);
    }

    #[test]
    fn it_is_said_in_days_from_thirty_days_before_on() {
        let now = 1_000_000_000_000;
        assert_eq!(warning(now + 31 * DAY, now), None);
        assert!(warning(now + 30 * DAY, now).unwrap().contains("expires in 30 days"));
        assert!(warning(now + DAY / 2, now).unwrap().contains("expires in 0 days"));
        assert!(warning(now - 3 * DAY, now).unwrap().contains("expired 3 days ago"));
    }
}
