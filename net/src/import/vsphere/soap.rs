//! The vSphere API (vim25) by SOAP 1.1: one method a request, to an object that the server knows by type and id.

use crate::{
    http::{Answer, Body, Http, Request, remote},
    refusal,
    retry::{Failure, persist},
    secret::Secret,
    secrets::vsphere::Login,
    store::lock,
    text::{SHOWN, shown},
    url::Url,
    xml::{all, child, children, document, escaped},
};
use formats::{Error, Kind, Result};
use roxmltree::Node;
use std::{fmt, sync::Mutex};
use ureq::http::Method;

/// Most bytes of an answer: some ten thousands of objects.
const ANSWER_MAX: u64 = 64 << 20;
/// The oldest release whose words we use.
const VERSION: &str = "urn:vim25/6.5";
/// XML Schema's own names, of which types of values are.
pub(super) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// An object of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) kind: String,
    pub(super) id: String,
}

impl Reference {
    pub(super) fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }

    /// The object that an element names.
    pub(super) fn of(node: Node<'_, '_>) -> Option<Self> {
        // Of another namespace is the type of the value, which says no more than that it names an object.
        let kind = node.attributes().find(|attribute| attribute.name() == "type" && attribute.namespace().is_none())?;
        Some(Self::new(kind.value(), node.text()?))
    }

    /// An element of this name that names it.
    pub(super) fn xml(&self, name: &str) -> String {
        format!("<{name} type=\"{}\">{}</{name}>", escaped(&self.kind), escaped(&self.id))
    }
}

/// An element with text in it.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(text))
}

/// A server, and our session with it.
pub(super) struct Server {
    pub(super) http: Http,
    pub(super) login: Login,
    /// The cookie that says who we are.
    cookie: Mutex<Option<Secret>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.login.url).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(http: Http, login: Login) -> Self {
        Self { http, login, cookie: Mutex::default() }
    }

    fn url(&self) -> &Url {
        &self.login.url
    }

    /// What a method of an object answers that can be asked again; `arguments` are elements.
    ///
    /// # Errors
    /// Remote: the server refuses, in its words, or fails.
    pub(super) fn ask(&self, method: &str, this: &Reference, arguments: &str) -> Result<String> {
        persist(&self.http.transport.limits, &*self.http.clock, method, || self.once(method, this, arguments))
    }

    /// The same of a method that is called once, for it makes something.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub(super) fn tell(&self, method: &str, this: &Reference, arguments: &str) -> Result<String> {
        self.once(method, this, arguments).map_err(|failure| failure.error)
    }

    fn once(&self, method: &str, this: &Reference, arguments: &str) -> Result<String, Failure> {
        let this = this.xml("_this");
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsi=\"{XSI}\">\
             <Body><{method} xmlns=\"urn:vim25\">{this}{arguments}</{method}></Body></Envelope>"
        );
        let mut headers = vec![("content-type", "text/xml; charset=\"utf-8\"".to_owned()), ("soapaction", VERSION.to_owned())];
        headers.extend(lock(&self.cookie).as_ref().map(|cookie| ("cookie", cookie.told().to_owned())));
        let body = Body::Bytes(body.as_bytes());
        let request = Request { method: Method::POST, url: self.url(), headers: &headers, authorization: None, body };
        let mut answer = self.http.send_signed(&request)?;
        self.remember(&answer);
        match answer.status {
            200 => Ok(String::from_utf8_lossy(&answer.bytes(ANSWER_MAX)?).into_owned()),
            // What the method refuses comes so, too.
            500 => match String::from_utf8_lossy(&answer.bytes(ANSWER_MAX)?) {
                text if text.contains("Fault>") => Err(fault(&text, method, &answer.url).into()),
                _ => Err(Failure::passing(remote(&answer.url, format!("fails at {method}: 500 Internal Server Error")))),
            },
            404 => Err(remote(&answer.url, "has no vSphere API there").hint("name a vCenter or an ESXi: GOVC_URL=https://HOST/sdk").into()),
            _ => Err(refusal::of_server(answer, &format!("refuses {method}"))),
        }
    }

    /// Keeps the cookie of a session that begins.
    fn remember(&self, answer: &Answer) {
        let of_session = |cookie: &&str| cookie.starts_with("vmware_soap_session=");
        if let Some(cookie) = answer.headers("set-cookie").find(of_session) {
            *lock(&self.cookie) = cookie.split(';').next().map(Secret::new);
        }
    }

    /// The session's cookie, for those alone who gave it.
    pub(super) fn cookie(&self, url: &Url) -> Option<(&'static str, String)> {
        let cookie = lock(&self.cookie);
        cookie.as_ref().filter(|_| self.url().is_beside(url)).map(|cookie| ("cookie", cookie.told().to_owned()))
    }

    /// Properties of objects: `specs` are `propSet`s and `objectSet`s. `found` is given each object and its properties.
    ///
    /// # Errors
    /// As [`Server::ask`], and what `found` says.
    pub(super) fn properties(
        &self,
        collector: &Reference,
        specs: &str,
        mut found: impl FnMut(Reference, &Properties<'_, '_>),
    ) -> Result<()> {
        let mut said = self.ask("RetrievePropertiesEx", collector, &format!("<specSet>{specs}</specSet><options/>"))?;
        loop {
            let document = self.read(&said)?;
            let Some(result) = all(document.root_element(), "returnval").next() else { return Ok(()) };
            for object in children(result, "objects") {
                if let Some(reference) = child(object, "obj").and_then(Reference::of) {
                    found(reference, &Properties(object));
                }
            }
            let Some(token) = child(result, "token").and_then(|token| token.text()) else { return Ok(()) };
            said = self.ask("ContinueRetrievePropertiesEx", collector, &element("token", token))?;
        }
    }

    /// An answer as a document.
    ///
    /// # Errors
    /// Remote: it is none.
    pub(super) fn read<'a>(&self, said: &'a str) -> Result<roxmltree::Document<'a>> {
        document(self.url(), said)
    }

    /// The object that a method gives.
    ///
    /// # Errors
    /// Remote: it gives none.
    pub(super) fn reference(&self, said: &str) -> Result<Reference> {
        let document = self.read(said)?;
        let given = all(document.root_element(), "returnval").next().and_then(Reference::of);
        given.ok_or_else(|| remote(self.url(), "answers without what was asked for"))
    }
}

/// The `propSet`s of an object.
pub(super) struct Properties<'a, 'b>(Node<'a, 'b>);

impl<'a, 'b: 'a> Properties<'a, 'b> {
    /// The value of a property.
    pub(super) fn get(&self, name: &str) -> Option<Node<'a, 'b>> {
        let named = |set: &Node<'a, 'b>| child(*set, "name").and_then(|node| node.text()) == Some(name);
        children(self.0, "propSet").find(named).and_then(|set| child(set, "val"))
    }

    /// The same as text.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| value.text())
    }

    /// The objects that a property lists.
    pub(super) fn references(&self, name: &str) -> Vec<Reference> {
        self.get(name).into_iter().flat_map(|value| value.children()).filter_map(Reference::of).collect()
    }
}

/// What a server says of a request that it refuses.
fn fault(text: &str, method: &str, url: &Url) -> Error {
    let Ok(document) = document(url, text) else { return remote(url, format!("refuses {method}")) };
    let fault = all(document.root_element(), "Fault").next();
    let detail = fault.and_then(|fault| child(fault, "detail")).and_then(|detail| detail.first_element_child());
    let name = detail.map(|detail| kind(detail).to_owned()).unwrap_or_default();
    let name = name.trim_end_matches("Fault");
    let message = fault.and_then(|fault| child(fault, "faultstring")).and_then(|said| said.text()).unwrap_or_default();
    let said: Vec<_> = [name, message].into_iter().filter(|text| !text.is_empty()).map(|text| shown(text, SHOWN)).collect();
    let words: String = said.iter().map(|words| format!(": {words}")).collect();
    let error = remote(url, format!("refuses {method}{words}"));
    let privilege = detail.and_then(|detail| child(detail, "privilegeId")).and_then(|node| node.text()).unwrap_or_default();
    match name {
        "InvalidLogin" => error.hint("are GOVC_USERNAME and GOVC_PASSWORD those of this server?"),
        "NoPermission" if !privilege.is_empty() => error.hint(format!("the login lacks the privilege {}", shown(privilege, SHOWN))),
        "NoPermission" => error.hint("the login may not do this"),
        "RestrictedVersion" => error.hint("the licence of this server does not let programs change anything"),
        "DuplicateName" => error.of_kind(Kind::BadInput).hint("choose another name, or another folder"),
        _ => error,
    }
}

/// What type a value says it is, or is called.
fn kind<'a>(node: Node<'a, '_>) -> &'a str {
    let kind = node.attribute((XSI, "type")).map(|kind| kind.rsplit(':').next().unwrap_or(kind));
    kind.unwrap_or_else(|| node.tag_name().name())
}

/// What is wrong or should be known, by an element that is a `LocalizedMethodFault`.
pub(super) fn said(fault: Node<'_, '_>) -> String {
    let message = child(fault, "localizedMessage").and_then(|node| node.text()).filter(|text| !text.trim().is_empty());
    shown(message.or_else(|| child(fault, "fault").map(kind)).unwrap_or("a fault without a name"), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Error {
        let text = format!("<e:Envelope xmlns:e=\"x\" xmlns:xsi=\"{XSI}\"><e:Body><e:Fault>{body}</e:Fault></e:Body></e:Envelope>");
        fault(&text, "Login", &Url::parse("https://vc.example/sdk").unwrap())
    }

    #[test]
    fn faults_are_told_in_words() {
        let login = of("<faultcode>ServerFaultCode</faultcode><faultstring>Cannot complete login.\x07</faultstring>\
            <detail><InvalidLoginFault xsi:type=\"InvalidLogin\"/></detail>"
            .replace('\x07', "&lt;")
            .as_str());
        assert_eq!(login.to_string(), "vc.example refuses Login: InvalidLogin: Cannot complete login.<");
        assert!(login.kind() == Kind::Remote && login.hint_text().unwrap().contains("GOVC_PASSWORD"));
        let lacks = of("<faultstring/><detail><Fault xsi:type=\"x:NoPermission\"><privilegeId>VApp.Import</privilegeId></Fault></detail>");
        assert!(lacks.to_string().ends_with("refuses Login: NoPermission") && lacks.hint_text().unwrap().ends_with("VApp.Import"));
        assert_eq!(of("<detail><DuplicateNameFault/></detail>").kind(), Kind::BadInput);
        assert_eq!(of("").to_string(), "vc.example refuses Login");
    }

    #[test]
    fn what_is_said_of_an_ovf_is_its_message_or_its_name() {
        let text = format!(
            "<r xmlns:xsi=\"{XSI}\"><error><fault xsi:type=\"OvfUnsupportedType\"/>\
            <localizedMessage>no such device</localizedMessage></error><error><fault xsi:type=\"OvfUnsupportedType\"/></error></r>"
        );
        let document = document(&Url::parse("https://vc.example/sdk").unwrap(), &text).unwrap();
        let all: Vec<_> = children(document.root_element(), "error").map(said).collect();
        assert_eq!(all, ["no such device", "OvfUnsupportedType"]);
    }
}
