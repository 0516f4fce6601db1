/*
 * The floor of the echo scenarios: what the kernel and a plain event loop cost when nothing else is done.
 *
 * bare_echo PORT listens on 127.0.0.1, reads requests with a Content-Length, and answers each with 200 and its own body.
 * One thread, edge-triggered epoll, one buffer for each connection, one writev for each answer. It is not a web server:
 * it takes the first Content-Length it finds for the truth, closes what it does not understand, and has no time-outs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CAPACITY = 256 * 1024, LONGEST_BODY = CAPACITY / 2, EVENTS = 128 };

struct connection {
    int fd;
    size_t filled;   /* octets received of this request and what follows it */
    size_t head;     /* length of the request's head; 0: not complete yet */
    size_t body;     /* Content-Length */
    size_t sent;     /* octets of the answer that the kernel has */
    int status;      /* length of the answer's own head */
    char answer[128];
    char input[CAPACITY];
};

/* Looks for the end of the head and its Content-Length. 0: more is needed, 1: found, -1: not understood. */
static int parse(struct connection *c)
{
    const char *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
    if (end == NULL)
        return c->filled == CAPACITY ? -1 : 0;
    c->head = (size_t)(end - c->input) + 4;
    for (const char *line = c->input; line < end;) {
        const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (strncasecmp(line, "content-length:", 15) == 0) {
            c->body = strtoul(line + 15, NULL, 10);
            if (c->body > LONGEST_BODY || c->head > CAPACITY - LONGEST_BODY)
                return -1;
            c->status = snprintf(c->answer, sizeof c->answer,
                                 "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %zu\r\n\r\n", c->body);
            return 1;
        }
        line = next + 2;
    }
    return -1;
}

/* Writes what is left of the answer. 1: all is out, 0: the kernel takes no more, -1: the client is gone. */
static int answer(struct connection *c)
{
    size_t head = (size_t)c->status, total = head + c->body;
    while (c->sent < total) {
        size_t from_head = c->sent < head ? head - c->sent : 0;
        size_t from_body = c->sent < head ? 0 : c->sent - head;
        struct iovec parts[2] = {
            {c->answer + head - from_head, from_head},
            {c->input + c->head + from_body, c->body - from_body},
        };
        ssize_t count = writev(c->fd, parts, 2);
        if (count < 0)
            return errno == EAGAIN ? 0 : -1;
        c->sent += (size_t)count;
    }
    return 1;
}

/* Goes on as far as the socket lets it. Returns -1 when the connection is to be closed. */
static int serve(struct connection *c)
{
    for (int drained = 0;;) {
        if (c->head == 0 && c->filled > 0 && parse(c) < 0)
            return -1;
        size_t whole = c->head + c->body;
        if (c->head > 0 && c->filled >= whole) {
            int done = answer(c);
            if (done <= 0)
                return done;
            memmove(c->input, c->input + whole, c->filled - whole);
            c->filled -= whole;
            c->head = c->body = c->sent = 0;
            if (c->filled > 0)
                continue;
        }
        /* A read that was not filled has emptied the socket: the next octet raises an event. */
        if (drained)
            return 0;
        size_t room = CAPACITY - c->filled;
        ssize_t count = recv(c->fd, c->input + c->filled, room, 0);
        if (count < 0 && errno == EAGAIN)
            return 0;
        if (count <= 0)
            return -1;
        c->filled += (size_t)count;
        drained = (size_t)count < room;
    }
}

static void accept_all(int poller, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = malloc(sizeof *c);
        if (c == NULL) {
            close(fd);
            continue;
        }
        memset(c, 0, offsetof(struct connection, answer));
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s PORT\n", arguments[0]);
        return 2;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 2048) < 0) {
        perror("bare_echo");
        return 1;
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int index = 0; index < ready; index++) {
            struct connection *c = events[index].data.ptr;
            if (c == NULL) {
                accept_all(poller, listener);
            } else if (serve(c) < 0) {
                close(c->fd);
                free(c);
            }
        }
    }
}
