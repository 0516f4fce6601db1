//! Session tickets (RFC 8446, 4.6.1; RFC 5077): sealed by a secret that the workers share, so that a client resumes
//! with whichever worker it meets, and the server keeps nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// A ticket's key, and with it the ticket, lasts this long (s): sealed in one period, it opens in that and the next.
const PERIOD: u64 = 6 * 3600;
const EPOCH_LEN: usize = size_of::<u64>();

#[derive(Debug)]
pub(super) struct Tickets {
    secret: hmac::Key,
    random: SystemRandom,
    /// Whom the listener trusts: a session that another trust admitted does not come back under this one.
    trust: Vec<u8>,
}

impl Tickets {
    pub(super) fn new(secret: Option<&[u8]>, trust: Vec<u8>) -> Result<Tickets, String> {
        let random = SystemRandom::new();
        let mut own = [0; 32];
        let secret = match secret {
            Some(secret) if secret.len() < own.len() => {
                return Err("ticket_key: at least 32 bytes are needed".to_owned());
            }
            Some(secret) => secret,
            None => {
                random
                    .fill(&mut own)
                    .map_err(|_| "the system has no random numbers".to_owned())?;
                &own
            }
        };
        Ok(Tickets {
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            random,
            trust,
        })
    }

    fn key(&self, epoch: u64) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(b"ferrule session tickets");
        context.update(&epoch.to_be_bytes());
        context.update(&self.trust);
        let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() / PERIOD)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    /// Epoch, nonce, sealed.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let epoch = now();
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut ticket =
            Vec::with_capacity(EPOCH_LEN + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        let mut sealed = plain.to_vec();
        self.key(epoch)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .ok()?;
        ticket.extend_from_slice(&epoch.to_be_bytes());
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (epoch, rest) = ticket.split_first_chunk::<EPOCH_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let epoch = u64::from_be_bytes(*epoch);
        if now().checked_sub(epoch)? > 1 {
            return None;
        }
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .key(epoch)?
            .open_in_place(nonce, Aad::empty(), &mut plain)
            .ok()?
            .len();
        plain.truncate(opened);
        Some(plain)
    }
}
