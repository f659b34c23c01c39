/* PHP-FPM alone: how many requests a second it can answer over kept connections.
 *
 * usage: limit SOCKET SCRIPT CONNECTIONS SIZE WARM-UP SECONDS
 * Prints "ready", waits for a line, then measures and prints one line of JSON. One thread for each
 * connection sends a request, reads the answer to its END_REQUEST, compares it, and begins again. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, RECORD = 65528 };

typedef struct {
    pthread_t thread;
    int socket;
    long answers, wrong;
    double *latencies;
    size_t room;
    char in[65536];
    size_t in_at, in_end;
} Connection;

static char *request, *expected;
static size_t request_length, size;
static double until;
static int keep_latencies;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void record(int type, const char *content, size_t length) {
    unsigned char header[8] = {1, type, 0, 1, length >> 8, length & 255, 0, 0};
    memcpy(request + request_length, header, 8);
    memcpy(request + request_length + 8, content, length);
    request_length += 8 + length;
}

static size_t pair(char *out, const char *name, const char *value) {
    size_t a = strlen(name), b = strlen(value), at = 0;
    out[at++] = a;
    if (b < 128) {
        out[at++] = b;
    } else {
        out[at++] = 0x80;
        out[at++] = 0;
        out[at++] = b >> 8;
        out[at++] = b & 255;
    }
    memcpy(out + at, name, a);
    memcpy(out + at + a, value, b);
    return at + a + b;
}

static void make_request(const char *script) {
    char params[8192], length[32], *message = malloc(size + 1);
    size_t at = 0;
    request = malloc(size + (size / RECORD + 1) * 8 + sizeof params + 64);
    expected = malloc(size);
    memset(message, 'x', size);
    message[0] = '?';
    memcpy(expected, message, size);
    expected[0] = '!';
    snprintf(length, sizeof length, "%zu", size);
    const char *pairs[] = {
        "SCRIPT_FILENAME", script, "SCRIPT_NAME", "/echo.php", "DOCUMENT_ROOT", "/", "DOCUMENT_URI",
        "/", "REQUEST_URI", "/", "QUERY_STRING", "", "REQUEST_METHOD", "POST", "CONTENT_TYPE",
        "text/plain", "CONTENT_LENGTH", length, "SERVER_PROTOCOL", "HTTP/1.1", "REQUEST_SCHEME",
        "http", "GATEWAY_INTERFACE", "CGI/1.1", "SERVER_SOFTWARE", "limit", "REMOTE_ADDR",
        "127.0.0.1", "REMOTE_PORT", "12345", "SERVER_ADDR", "127.0.0.1", "SERVER_PORT", "80",
        "SERVER_NAME", "127.0.0.1", "REDIRECT_STATUS", "200", "HTTP_HOST", "127.0.0.1",
        "HTTP_UPGRADE", "websocket", "HTTP_CONNECTION", "Upgrade", "HTTP_SEC_WEBSOCKET_KEY",
        "dGhlIHNhbXBsZSBub25jZQ==", "HTTP_SEC_WEBSOCKET_VERSION", "13"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i += 2)
        at += pair(params + at, pairs[i], pairs[i + 1]);
    record(BEGIN_REQUEST, "\0\1\1\0\0\0\0\0", 8);
    record(PARAMS, params, at);
    record(PARAMS, "", 0);
    for (size_t sent = 0; sent < size; sent += RECORD)
        record(STDIN, message + sent, size - sent < RECORD ? size - sent : RECORD);
    record(STDIN, "", 0);
    free(message);
}

static int open_connection(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    return fd;
}

static void take(Connection *c, char *out, size_t wanted) {
    while (wanted) {
        if (c->in_at == c->in_end) {
            ssize_t got = recv(c->socket, c->in, sizeof c->in, 0);
            if (got <= 0)
                die("recv");
            c->in_at = 0;
            c->in_end = got;
        }
        size_t n = c->in_end - c->in_at < wanted ? c->in_end - c->in_at : wanted;
        memcpy(out, c->in + c->in_at, n);
        c->in_at += n;
        out += n;
        wanted -= n;
    }
}

static int ask(Connection *c, char *answer) {
    unsigned char header[8];
    size_t length = 0;
    for (size_t sent = 0; sent < request_length;) {
        ssize_t n = send(c->socket, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        sent += n;
    }
    for (;;) {
        take(c, (char *)header, 8);
        size_t content = header[4] << 8 | header[5];
        if (length + content + header[6] > size + 65536)
            return 0;
        take(c, answer + length, content);
        take(c, answer + length + content, header[6]);
        if (header[1] == END_REQUEST)
            break;
        length += content;
    }
    char *body = memmem(answer, length, "\r\n\r\n", 4);
    return body && length - (body + 4 - answer) == size && !memcmp(body + 4, expected, size);
}

static void *run(void *argument) {
    Connection *c = argument;
    char *answer = malloc(size + 2 * 65536);
    for (double began = now(), ended; began < until; began = ended) {
        c->wrong += !ask(c, answer);
        ended = now();
        if (keep_latencies) {
            if (c->answers == (long)c->room)
                c->latencies = realloc(c->latencies, (c->room += 1 << 16) * sizeof(double));
            c->latencies[c->answers] = ended - began;
        }
        c->answers++;
    }
    free(answer);
    return NULL;
}

static void run_all(Connection *all, int n, double seconds) {
    until = now() + seconds;
    for (int i = 0; i < n; i++)
        pthread_create(&all[i].thread, NULL, run, &all[i]);
    for (int i = 0; i < n; i++)
        pthread_join(all[i].thread, NULL);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    int n = atoi(argv[3]);
    size = atol(argv[4]);
    make_request(argv[2]);
    Connection *all = calloc(n, sizeof *all);
    for (int i = 0; i < n; i++)
        all[i].socket = open_connection(argv[1]);
    run_all(all, n, atof(argv[5]));
    puts("ready");
    fflush(stdout);
    getchar();
    keep_latencies = 1;
    long answers = 0, wrong = 0;
    for (int i = 0; i < n; i++)
        all[i].answers = 0;
    double began = now(), cpu_began = cpu();
    run_all(all, n, atof(argv[6]));
    double seconds = now() - began, used = cpu() - cpu_began;
    for (int i = 0; i < n; i++) {
        answers += all[i].answers;
        wrong += all[i].wrong;
    }
    double *latencies = malloc((answers + 1) * sizeof(double));
    for (long i = 0, at = 0; i < n; at += all[i++].answers)
        memcpy(latencies + at, all[i].latencies, all[i].answers * sizeof(double));
    qsort(latencies, answers, sizeof(double), ascending);
    if (!answers)
        return 1;
    printf("{\"count\": %ld, \"seconds\": %f, \"p50\": %f, \"p99\": %f, \"p999\": %f, "
           "\"max\": %f, \"generator_cpu\": %f, \"wrong\": %ld, \"lost\": 0, \"example\": \"\"}\n",
           answers, seconds, latencies[answers / 2], latencies[(long)(answers * .99)],
           latencies[(long)(answers * .999)], latencies[answers - 1], used / seconds, wrong);
    return 0;
}
