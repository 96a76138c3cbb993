// SPDX-License-Identifier: Apache-2.0
//! What the page says, in the browser's language.

/// One language.
#[derive(Debug)]
pub(crate) struct Words {
    /// `en`
    pub(crate) lang: &'static str,
    /// The title and the heading.
    pub(crate) title: &'static str,
    /// While it happens by itself.
    pub(crate) checking: &'static str,
    /// While the browser computes.
    pub(crate) working: &'static str,
    /// Without JavaScript.
    pub(crate) no_script: &'static str,
    /// Of the link, for whoever is not taken there.
    pub(crate) go_on: &'static str,
    /// No cookie came back.
    pub(crate) no_cookie: &'static str,
    /// What came was no solution.
    pub(crate) failed: &'static str,
    /// Too many from there.
    pub(crate) capped: &'static str,
    /// Before the request's number.
    pub(crate) number: &'static str,
}

/// The first is for everybody else.
pub(crate) const LANGUAGES: [Words; 8] = [
    Words {
        lang: "en",
        title: "One moment, please",
        checking: "We are checking that a browser is asking. This takes a few seconds and happens by itself.",
        working: "Your browser is solving a small puzzle to show that it is no robot. This takes a few seconds.",
        no_script: "It works without JavaScript too: then you are taken on after about a quarter of a minute.",
        go_on: "Continue, if nothing happens",
        no_cookie: "Your browser did not send our cookie back. Please allow cookies for this site and try again.",
        failed: "That did not work. Please try again.",
        capped: "Too many checks have come from your network today. Please try again later.",
        number: "If you cannot get on, tell the site's operator this number:",
    },
    Words {
        lang: "de",
        title: "Einen Moment bitte",
        checking: "Wir prüfen, ob ein Browser anfragt. Das dauert wenige Sekunden und geschieht von selbst.",
        working: "Ihr Browser löst eine kleine Aufgabe, um zu zeigen, dass er kein Roboter ist. Das dauert wenige Sekunden.",
        no_script: "Es geht auch ohne JavaScript: Dann geht es nach etwa einer Viertelminute weiter.",
        go_on: "Weiter, falls nichts geschieht",
        no_cookie: "Ihr Browser hat unser Cookie nicht zurückgeschickt. Bitte erlauben Sie Cookies für diese Seite und versuchen Sie es noch einmal.",
        failed: "Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.",
        capped: "Aus Ihrem Netz kamen heute zu viele Prüfungen. Bitte versuchen Sie es später noch einmal.",
        number: "Falls Sie nicht weiterkommen, nennen Sie dem Betreiber der Seite diese Nummer:",
    },
    Words {
        lang: "fr",
        title: "Un instant, s’il vous plaît",
        checking: "Nous vérifions que la demande vient d’un navigateur. Cela prend quelques secondes et se fait tout seul.",
        working: "Votre navigateur résout un petit calcul pour montrer qu’il n’est pas un robot. Cela prend quelques secondes.",
        no_script: "Cela fonctionne aussi sans JavaScript : la suite vient alors au bout d’un quart de minute environ.",
        go_on: "Continuer, si rien ne se passe",
        no_cookie: "Votre navigateur n’a pas renvoyé notre cookie. Veuillez autoriser les cookies pour ce site et réessayer.",
        failed: "Cela n’a pas fonctionné. Veuillez réessayer.",
        capped: "Trop de vérifications sont venues de votre réseau aujourd’hui. Veuillez réessayer plus tard.",
        number: "Si vous restez bloqué, indiquez ce numéro à l’exploitant du site :",
    },
    Words {
        lang: "es",
        title: "Un momento, por favor",
        checking: "Estamos comprobando que la petición viene de un navegador. Tarda unos segundos y se hace solo.",
        working: "Su navegador resuelve un pequeño cálculo para mostrar que no es un robot. Tarda unos segundos.",
        no_script: "También funciona sin JavaScript: entonces se sigue al cabo de un cuarto de minuto.",
        go_on: "Continuar, si no pasa nada",
        no_cookie: "Su navegador no ha devuelto nuestra cookie. Permita las cookies de este sitio e inténtelo de nuevo.",
        failed: "No ha funcionado. Inténtelo de nuevo.",
        capped: "Hoy han llegado demasiadas comprobaciones desde su red. Inténtelo más tarde.",
        number: "Si no puede seguir, indique este número al responsable del sitio:",
    },
    Words {
        lang: "pt",
        title: "Um momento, por favor",
        checking: "Estamos a verificar se o pedido vem de um navegador. Demora alguns segundos e acontece sozinho.",
        working: "O seu navegador resolve um pequeno cálculo para mostrar que não é um robô. Demora alguns segundos.",
        no_script: "Também funciona sem JavaScript: nesse caso continua ao fim de cerca de um quarto de minuto.",
        go_on: "Continuar, se nada acontecer",
        no_cookie: "O seu navegador não devolveu o nosso cookie. Permita cookies para este site e tente de novo.",
        failed: "Não funcionou. Tente de novo.",
        capped: "Hoje vieram demasiadas verificações da sua rede. Tente de novo mais tarde.",
        number: "Se não conseguir avançar, indique este número ao responsável pelo site:",
    },
    Words {
        lang: "it",
        title: "Un momento, per favore",
        checking: "Stiamo verificando che la richiesta venga da un browser. Bastano pochi secondi e avviene da solo.",
        working: "Il browser risolve un piccolo calcolo per mostrare di non essere un robot. Bastano pochi secondi.",
        no_script: "Funziona anche senza JavaScript: in tal caso si prosegue dopo circa un quarto di minuto.",
        go_on: "Continua, se non succede nulla",
        no_cookie: "Il browser non ha restituito il nostro cookie. Consenti i cookie per questo sito e riprova.",
        failed: "Non ha funzionato. Riprova.",
        capped: "Oggi dalla tua rete sono arrivate troppe verifiche. Riprova più tardi.",
        number: "Se non riesci ad andare avanti, comunica questo numero al gestore del sito:",
    },
    Words {
        lang: "nl",
        title: "Een ogenblik geduld",
        checking: "We controleren of een browser de aanvraag doet. Dat duurt een paar seconden en gaat vanzelf.",
        working: "Uw browser lost een kleine puzzel op om te tonen dat hij geen robot is. Dat duurt een paar seconden.",
        no_script: "Het werkt ook zonder JavaScript: dan gaat u na ongeveer een kwart minuut verder.",
        go_on: "Ga verder, als er niets gebeurt",
        no_cookie: "Uw browser heeft onze cookie niet teruggestuurd. Sta cookies voor deze site toe en probeer het opnieuw.",
        failed: "Dat is niet gelukt. Probeer het opnieuw.",
        capped: "Er kwamen vandaag te veel controles van uw netwerk. Probeer het later opnieuw.",
        number: "Komt u niet verder, geef de beheerder van de site dan dit nummer:",
    },
    Words {
        lang: "pl",
        title: "Chwileczkę",
        checking: "Sprawdzamy, czy pyta przeglądarka. Trwa to kilka sekund i dzieje się samo.",
        working: "Twoja przeglądarka rozwiązuje małe zadanie, aby pokazać, że nie jest robotem. Trwa to kilka sekund.",
        no_script: "Działa to także bez JavaScriptu: wtedy przejście następuje po około 15 sekundach.",
        go_on: "Dalej, jeśli nic się nie dzieje",
        no_cookie: "Przeglądarka nie odesłała naszego ciasteczka. Zezwól na ciasteczka tej strony i spróbuj ponownie.",
        failed: "To się nie udało. Spróbuj ponownie.",
        capped: "Z Twojej sieci przyszło dziś zbyt wiele sprawdzeń. Spróbuj ponownie później.",
        number: "Jeśli nie możesz przejść dalej, podaj operatorowi strony ten numer:",
    },
];

/// The language that a browser likes best among those.
pub(crate) fn words(accept_language: &str) -> &'static Words {
    let [first, ..] = &LANGUAGES;
    let mut best = (first, 0.0);
    // A browser names a handful; more are an attempt to cost time.
    for entry in accept_language.split(',').take(16) {
        let (tag, rest) = entry.split_once(';').unwrap_or((entry, ""));
        let quality =
            rest.trim().strip_prefix("q=").map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let known = LANGUAGES.iter().find(|words| words.lang.eq_ignore_ascii_case(primary));
        if let Some(words) = known.filter(|_| quality > best.1) {
            best = (words, quality);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_speaks_the_browser_s_language() {
        for (accept, want) in [
            ("", "en"),
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("ja,fr;q=0.5,en;q=0.4", "fr"),
            ("en;q=0.5, PT-br;q=0.9", "pt"),
            ("ja", "en"),
            ("pl;q=0,nl;q=0.1", "nl"),
            ("it;q=x", "en"),
        ] {
            assert_eq!(words(accept).lang, want, "{accept}");
        }
    }
}
