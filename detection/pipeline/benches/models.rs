// SPDX-License-Identifier: Apache-2.0
//! What models cost; `cargo xtask figures learn --measure kernels` reads the lines.
//!
//! Times are the least of many batches over inputs in an order that nothing predicts: whatever else the machine does
//! only adds.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../tests/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use sunbeam_ensemble::{ApplicationModel, DdosModel, HIDDEN, INPUTS, LANES, Mlp, ScannerModel, builtin};
use sunbeam_features::application::HostKey;
use sunbeam_features::payload;
use sunbeam_pipeline::Models;
use sunbeam_traffic::RequestFacts;

use crate::world::World;

/// Inputs in one batch: more than any predictor learns.
const INPUT_COUNT: usize = 4096;
const BATCHES: u32 = 400;

fn main() {
    kernels();
    texts();
    requests();
    application();
    say("models_bytes", size_of::<ScannerModel>() + size_of::<DdosModel>());
    say("cascade_bytes", size_of_val(&builtin::SCANNER.cascade));
    say("payload_bytes", size_of_val(&builtin::SCANNER.payload));
}

fn say(name: &str, value: impl std::fmt::Display) {
    println!("{name} {value}");
}

/// Nanoseconds of one call over all `inputs`.
fn nanoseconds<T>(inputs: &[T], mut call: impl FnMut(&T)) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..BATCHES {
        let begun = Instant::now();
        inputs.iter().for_each(&mut call);
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let each = begun.elapsed().as_secs_f64() * 1e9 / inputs.len() as f64;
        least = least.min(each);
    }
    least
}

/// Numbers without a pattern (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn byte(&mut self, below: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from((self.0 >> 40) % u64::from(below)).unwrap()
    }
}

fn kernels() {
    let mut numbers = Numbers(88_172_645_463_325_252);
    let inputs: Vec<[u8; INPUTS]> =
        (0..INPUT_COUNT).map(|_| std::array::from_fn(|_| numbers.byte(128))).collect();
    let cascade = &builtin::SCANNER.cascade;
    let nothing = nanoseconds(&inputs, |inputs| {
        black_box(inputs);
    });
    let tree = nanoseconds(&inputs, |inputs| {
        black_box(cascade.tree.logit(black_box(inputs)));
    });
    let mlp = nanoseconds(&inputs, |inputs| {
        black_box(cascade.mlp.logit(black_box(inputs)));
    });
    let floats = Floats::of(&cascade.mlp);
    let plain = nanoseconds(&inputs, |inputs| {
        black_box(floats.probability(black_box(inputs)));
    });
    say("loop_ns", nothing);
    say("tree_ns", tree);
    say("mlp_ns", mlp);
    say("mlp_float_ns", plain);
    say("mlp_gain", plain / mlp);
}

/// The same perceptron as it is usually written: floats, a row of weights for each neuron, a sigmoid.
struct Floats {
    hidden: Vec<Vec<f32>>,
    biases: Vec<f32>,
    output: Vec<f32>,
    output_bias: f32,
}

impl Floats {
    fn of(mlp: &Mlp) -> Self {
        let weight =
            |neuron: usize, input: usize| f32::from(mlp.hidden[input / LANES][neuron][input % LANES]) / 127.0;
        #[expect(clippy::cast_precision_loss, reason = "weights")]
        let biases = mlp.biases.iter().map(|bias| *bias as f32 / 16_129.0).collect();
        Self {
            hidden: (0..HIDDEN).map(|neuron| (0..12).map(|input| weight(neuron, input)).collect()).collect(),
            biases,
            output: mlp.output.iter().map(|weight| f32::from(*weight) / 127.0).collect(),
            output_bias: 0.5,
        }
    }

    fn probability(&self, inputs: &[u8; INPUTS]) -> f32 {
        let mut sum = self.output_bias;
        for (neuron, weights) in self.hidden.iter().enumerate() {
            let mut value = self.biases[neuron];
            for (weight, input) in weights.iter().zip(inputs) {
                value += weight * (f32::from(*input) / 127.0);
            }
            sum += self.output[neuron] * value.max(0.0);
        }
        1.0 / (1.0 + (-sum).exp())
    }
}

const HOST: &str = "shop.example";

/// Ordinary requests: what browsers, apps and crawlers ask for.
const ORDINARY: [&str; 16] = [
    "/",
    "/index.html",
    "/assets/app.3f2a9c1b.js",
    "/images/products/blue-chair-42.webp",
    "/products/blue-chair-42?color=navy&size=m",
    "/search?q=garden+table&page=2",
    "/api/v1/items?limit=20&offset=40",
    "/api/v1/users/42/orders",
    "/blog/2026/11/how-we-moved-our-shop",
    "/favicon.ico",
    "/robots.txt",
    "/login?next=%2Faccount%2Forders",
    "/static/css/site.css?v=1.4.2",
    "/feed.xml",
    "/de/kategorie/st%C3%BChle/seite-3",
    "/checkout/address?step=2",
];

fn texts() {
    let (model, mut facts) = (&builtin::SCANNER.payload, payload::Facts::default());
    for (name, text) in [
        ("text_suspicious_48_bytes_ns", &b"1' union select username, password from users --"[..]),
        ("text_ordinary_32_bytes_ns", b"garden table for the summer/2026"),
    ] {
        let cost = nanoseconds(&[text; 64], |text| {
            payload::read(black_box(text), &mut facts);
            black_box(model.read(&facts));
        });
        say(name, cost);
    }
}

fn requests() {
    let costs = ordinary(&mut World::new());
    say("judge_median_ns", costs[costs.len() / 2]);
    say("judge_worst_ns", costs[costs.len() - 1]);
    let mut attack = World::new();
    say(
        "judge_attack_ns",
        one_request(&mut attack, "/item?id=1%27%20union%20select%20password%20from%20users--%20"),
    );
}

/// What each ordinary request costs, the cheapest first.
fn ordinary(world: &mut World) -> Vec<f64> {
    let mut costs: Vec<f64> = ORDINARY.iter().map(|target| one_request(world, target)).collect();
    costs.sort_by(f64::total_cmp);
    costs
}

/// With a model that knows what is odd for one application: one that is asked, and one of another host.
fn application() {
    for (name, host) in [("judge_application_ns", HOST), ("judge_other_host_ns", "blog.example")] {
        let mut application = ApplicationModel { doubtful: 1 << 20, ..ApplicationModel::NONE };
        application.set_hosts(&[HostKey::of("www.shop.test"), HostKey::of(host)]);
        let scanner = ScannerModel { application, ..builtin::SCANNER.clone() };
        let mut world = World::new().judged_by(Models { scanner: Arc::new(scanner), ..Models::default() });
        let costs = ordinary(&mut world);
        say(name, costs[costs.len() / 2]);
    }
}

fn one_request(world: &mut World, target: &str) -> f64 {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let clients: Vec<IpAddr> =
        (0..64_u8).map(|client| IpAddr::V4(Ipv4Addr::new(198, 51, 100, client))).collect();
    let cookies: &[&[u8]] = &[b"theme=dark; _ga=GA1.1.123456789.1700000000"];
    nanoseconds(&clients, |client| {
        let facts = RequestFacts {
            client: *client,
            host: HOST,
            path,
            query,
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            accept: b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            accept_language: b"de,en;q=0.5",
            referer: b"https://shop.example/",
            cookies,
            ..RequestFacts::EMPTY
        };
        world.now_micros += 400_000;
        black_box(world.judge(black_box(&facts)));
    })
}
