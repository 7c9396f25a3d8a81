//! Lists, a page at a time.

use std::collections::VecDeque;
use std::marker::PhantomData;

use cairn_ledger::Address;
use serde::de::DeserializeOwned;

use super::{ClientError, RpcClient};
use crate::wire::{DealState, OrderState, Page};

/// The items of a list, asked for as they are needed. Ends after the first error.
pub struct Pages<'a, T> {
    client: &'a RpcClient,
    path: String,
    waiting: VecDeque<T>,
    /// Where to go on; `None` at the end.
    next: Option<Option<String>>,
    item: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> Pages<'a, T> {
    /// The list from `at` on, or from its beginning.
    pub(super) fn new(client: &'a RpcClient, path: String, at: Option<String>) -> Self {
        Self { client, path, waiting: VecDeque::new(), next: Some(at), item: PhantomData }
    }

    fn ask(&self, at: Option<&str>) -> Result<Page<T>, ClientError> {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let at = at.map_or(String::new(), |at| format!("{mark}cursor={at}"));
        self.client.get(&format!("{}{at}", self.path))
    }
}

impl<T: DeserializeOwned> Iterator for Pages<'_, T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.waiting.is_empty() {
            let at = self.next.take()?;
            match self.ask(at.as_deref()) {
                Ok(page) => {
                    // A server that names the same place for ever would keep a client for ever.
                    self.next = page.next.filter(|next| at.as_ref() != Some(next)).map(Some);
                    self.waiting.extend(page.items);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.waiting.pop_front().map(Ok)
    }
}

/// Which orders.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// Of this client alone.
    pub client: Option<Address>,
    /// In this state alone.
    pub state: Option<OrderState>,
}

impl OrderFilter {
    pub(super) fn path(&self) -> String {
        path("/v1/orders", [pair("client", self.client), pair("state", self.state.map(name))])
    }
}

/// Which deals.
#[derive(Debug, Clone, Default)]
pub struct DealFilter {
    /// Paid by this client alone.
    pub client: Option<Address>,
    /// With this provider alone.
    pub provider: Option<u64>,
    /// Of this order alone.
    pub order: Option<u64>,
    /// In this state alone.
    pub state: Option<DealState>,
}

impl DealFilter {
    pub(super) fn path(&self) -> String {
        let order = pair("order", self.order);
        let state = pair("state", self.state.map(name));
        path("/v1/deals", [pair("client", self.client), pair("provider", self.provider), order, state])
    }
}

/// Which rails.
#[derive(Debug, Clone, Default)]
pub struct RailFilter {
    /// Paid by this account alone.
    pub payer: Option<Address>,
    /// Paid to this account alone.
    pub payee: Option<Address>,
}

impl RailFilter {
    pub(super) fn path(&self) -> String {
        path("/v1/rails", [pair("payer", self.payer), pair("payee", self.payee)])
    }
}

fn pair(name: &str, value: Option<impl std::fmt::Display>) -> Option<String> {
    value.map(|value| format!("{name}={value}"))
}

/// The name that an enumeration's value travels under.
fn name(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a state is a name"),
    }
}

fn path<const N: usize>(list: &str, pairs: [Option<String>; N]) -> String {
    let pairs: Vec<String> = pairs.into_iter().flatten().collect();
    if pairs.is_empty() { list.to_owned() } else { format!("{list}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_queries() {
        assert_eq!(DealFilter::default().path(), "/v1/deals");
        let filter = DealFilter { provider: Some(7), state: Some(DealState::Active), ..DealFilter::default() };
        assert_eq!(filter.path(), "/v1/deals?provider=7&state=active");
    }
}
