// SPDX-License-Identifier: Apache-2.0
// What a request costs in libmodsecurity, all five phases, as often as asked; and what it says of many requests.
//
//     modsecurity RULES... -- RUNS REQUEST...
//     modsecurity RULES... -- verdicts REQUESTS
//
// RULES are rule files, a REQUEST is a file with one HTTP/1.1 request. For each request a line: its file, the
// nanoseconds of CPU a run took, and the status of an intervention (0: none).
//
// REQUESTS is a file of many, each after a line with its length in bytes. For each a line: the status of an
// intervention, and every match that is logged, `RULE@VARIABLE`, in order.
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct request {
    char *bytes;
    size_t length;
};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why ? why : "failed");
    exit(1);
}

static struct request load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "cannot be read");
    struct request request = {0};
    fseek(file, 0, SEEK_END);
    request.length = (size_t)ftell(file);
    rewind(file);
    request.bytes = malloc(request.length + 1);
    if (!request.bytes || fread(request.bytes, 1, request.length, file) != request.length) fail(path, "cannot be read");
    request.bytes[request.length] = 0;
    fclose(file);
    return request;
}

// Of a match that is logged, its rule and the variable; `matched` is where they are told, none for nobody.
static void note(void *matched, const void *logged) {
    if (!matched) return;
    const char *text = logged;
    const char *id = strstr(text, "\"] [id \"");
    if (!id) return;
    id += strlen("\"] [id \"");
    fprintf(matched, " %.*s@", (int)strcspn(id, "\""), id);
    const char *variable = strstr(text, "against variable `");
    if (!variable || variable > id) return;
    variable += strlen("against variable `");
    for (; *variable && *variable != '\''; variable++) fputc(*variable > ' ' ? *variable : '_', matched);
}

// Returns the status of an intervention, 0 for none.
static int asked(Transaction *transaction) {
    ModSecurityIntervention found = {.status = 200};
    int status = msc_intervention(transaction, &found) ? found.status : 0;
    free(found.url);
    free(found.log);
    return status;
}

static int run(ModSecurity *engine, RulesSet *rules, const struct request *request, FILE *matched) {
    char *copy = malloc(request->length + 1);
    memcpy(copy, request->bytes, request->length + 1);
    char *body = strstr(copy, "\r\n\r\n");
    if (!body) fail("request", "has no end of its head");
    *body = 0;
    body += 4;
    size_t body_length = request->length - (size_t)(body - copy);
    char *line = copy, *next = strstr(line, "\r\n");
    if (next) *next = 0;
    char *uri = strchr(line, ' ');
    char *version = strrchr(line, ' ');
    if (!uri || uri == version) fail("request", "has no request line");
    *uri++ = 0;
    *version = 0;

    Transaction *transaction = msc_new_transaction(engine, rules, matched);
    int status = 0;
    msc_process_connection(transaction, "203.0.113.9", 40000, "192.0.2.1", 443);
    msc_process_uri(transaction, uri, line, "1.1");
    while (next) {
        char *header = next + 2;
        next = strstr(header, "\r\n");
        if (next) *next = 0;
        char *value = strstr(header, ": ");
        if (!value) fail("request", "has a field without a colon");
        *value = 0;
        msc_add_request_header(transaction, (unsigned char *)header, (unsigned char *)value + 2);
    }
    msc_process_request_headers(transaction);
    status = asked(transaction);
    if (!status) {
        if (body_length) msc_append_request_body(transaction, (unsigned char *)body, body_length);
        msc_process_request_body(transaction);
        status = asked(transaction);
    }
    if (!status) {
        static const char page[] = "<html><body>hello</body></html>";
        msc_add_response_header(transaction, (unsigned char *)"Content-Type", (unsigned char *)"text/html");
        msc_process_response_headers(transaction, 200, "HTTP 1.1");
        msc_append_response_body(transaction, (unsigned char *)page, sizeof page - 1);
        msc_process_response_body(transaction);
        status = asked(transaction);
    }
    msc_process_logging(transaction);
    msc_transaction_cleanup(transaction);
    free(copy);
    return status;
}

static double cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void verdicts(ModSecurity *engine, RulesSet *rules, const char *path) {
    struct request all = load(path);
    for (char *at = all.bytes, *end = all.bytes + all.length; at < end;) {
        char *bytes = NULL;
        unsigned long length = strtoul(at, &bytes, 10);
        if (bytes == at || *bytes != '\n' || length > (size_t)(end - bytes - 1)) fail(path, "is cut");
        struct request request = {.length = length, .bytes = malloc(length + 1)};
        memcpy(request.bytes, bytes + 1, length);
        request.bytes[length] = 0;
        char *found = NULL;
        size_t found_length = 0;
        FILE *matched = open_memstream(&found, &found_length);
        int status = run(engine, rules, &request, matched);
        fclose(matched);
        printf("%d%s\n", status, found);
        free(found);
        free(request.bytes);
        at = bytes + 1 + length;
    }
    free(all.bytes);
}

int main(int count, char **words) {
    ModSecurity *engine = msc_init();
    msc_set_connector_info(engine, "benchmark");
    msc_set_log_cb(engine, note);
    RulesSet *rules = msc_create_rules_set();
    int at = 1;
    for (; at < count && strcmp(words[at], "--"); at++) {
        const char *error = NULL;
        if (msc_rules_add_file(rules, words[at], &error) < 0) fail(words[at], error);
    }
    if (at + 2 >= count) fail("usage", "modsecurity RULES... -- RUNS REQUEST... | verdicts REQUESTS");
    if (!strcmp(words[at + 1], "verdicts")) {
        verdicts(engine, rules, words[at + 2]);
        return 0;
    }
    long runs = strtol(words[at + 1], NULL, 10);
    for (at += 2; at < count; at++) {
        struct request request = load(words[at]);
        int status = run(engine, rules, &request, NULL);
        // The quickest of ten rounds: whatever else the machine does only makes it slower.
        double quickest = 0;
        long each = (runs + 9) / 10;
        for (int round = 0; round < 10; round++) {
            double start = cpu_ns();
            for (long number = 0; number < each; number++) run(engine, rules, &request, NULL);
            double took = (cpu_ns() - start) / (double)each;
            if (round == 0 || took < quickest) quickest = took;
        }
        printf("%s %.0f %d\n", words[at], quickest, status);
        free(request.bytes);
    }
    return 0;
}
