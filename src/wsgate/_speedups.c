/* The codecs of one message's way, compiled.

   Each function does in one call what a few lines of Python do: those lines stand in the module
   that a function's comment names, are the reference, and are used where this file was not built.
   tests/test_compiled.py compares the two. Nothing here keeps state, waits, or gives up the GIL.

   Every length is checked before a byte is read, and sums of lengths before memory is asked for. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#define HEADER_SIZE 8
#define MAX_CONTENT 65528
#define PARAMS 4
#define STDIN 5
#define STDOUT 6

static int
check_count(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, given);
    return 0;
}

/* Adds to a size; a sum that no object could have is an OverflowError. */
static int
add_size(Py_ssize_t *sum, Py_ssize_t size)
{
    if (size > PY_SSIZE_T_MAX - *sum) {
        PyErr_SetString(PyExc_OverflowError, "too many bytes");
        return 0;
    }
    *sum += size;
    return 1;
}

static unsigned char *
put(unsigned char *to, const void *from, Py_ssize_t size)
{
    memcpy(to, from, (size_t)size);
    return to + size;
}

static int
is_ascii(const unsigned char *data, Py_ssize_t size)
{
    Py_ssize_t at = 0;
    for (; size - at >= 8; at += 8) {
        unsigned long long word;
        memcpy(&word, data + at, 8);
        if (word & 0x8080808080808080ULL) {
            return 0;
        }
    }
    for (; at < size; at++) {
        if (data[at] & 0x80) {
            return 0;
        }
    }
    return 1;
}

/* Whether `data` is whole, valid UTF-8: 1, 0, or -1 with an exception. Python's decoder decides. */
static int
is_utf8(const unsigned char *data, Py_ssize_t size)
{
    if (is_ascii(data, size)) {
        return 1;
    }
    PyObject *text = PyUnicode_DecodeUTF8((const char *)data, size, NULL);
    if (text != NULL) {
        Py_DECREF(text);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* -- WebSocket, RFC 6455 ------------------------------------------------------------------- */

static void
unmask(unsigned char *to, const unsigned char *from, Py_ssize_t size, const unsigned char *mask)
{
    unsigned char twice[8];
    unsigned long long key;
    Py_ssize_t at = 0;
    memcpy(twice, mask, 4);
    memcpy(twice + 4, mask, 4);
    memcpy(&key, twice, 8);
    for (; size - at >= 8; at += 8) {
        unsigned long long word;
        memcpy(&word, from + at, 8);
        word ^= key;
        memcpy(to + at, &word, 8);
    }
    for (; at < size; at++) {
        to[at] = from[at] ^ mask[at & 3];
    }
}

/* wsgate.websocket.fastlane.take_message: a short frame at data[start:], or None. */
static PyObject *
take_frame(const unsigned char *data, Py_ssize_t length, Py_ssize_t start, Py_ssize_t limit)
{
    if (start < 0 || start > length || length - start < 6) {
        Py_RETURN_NONE;
    }
    const unsigned char *at = data + start;
    Py_ssize_t available = length - start;
    unsigned char first = at[0];
    if ((first != 0x81 && first != 0x82) || !(at[1] & 0x80)) {
        Py_RETURN_NONE;
    }
    Py_ssize_t size = at[1] & 0x7f;
    Py_ssize_t header = 2;
    if (size == 126) {
        size = ((Py_ssize_t)at[2] << 8) | at[3];
        header = 4;
        if (size < 126) {
            Py_RETURN_NONE;
        }
    }
    else if (size == 127) {
        Py_RETURN_NONE;
    }
    /* size is at most 65535 here, so that none of these sums can overflow. */
    if (header + 4 + size > available || size > limit) {
        Py_RETURN_NONE;
    }
    PyObject *payload = PyBytes_FromStringAndSize(NULL, size);
    if (payload == NULL) {
        return NULL;
    }
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(payload);
    unmask(to, at + header + 4, size, at + header);
    if (first == 0x81) {
        int valid = is_utf8(to, size);
        if (valid <= 0) {
            Py_DECREF(payload);
            if (valid < 0) {
                return NULL;
            }
            Py_RETURN_NONE;
        }
    }
    PyObject *end = PyLong_FromSsize_t(start + header + 4 + size);
    PyObject *taken = end == NULL ? NULL : PyTuple_New(3);
    if (taken == NULL) {
        Py_DECREF(payload);
        Py_XDECREF(end);
        return NULL;
    }
    PyTuple_SET_ITEM(taken, 0, payload);
    PyTuple_SET_ITEM(taken, 1, PyBool_FromLong(first == 0x82));
    PyTuple_SET_ITEM(taken, 2, end);
    return taken;
}

static PyObject *
take_message(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer data;
    if (!check_count("take_message", nargs, 3)) {
        return NULL;
    }
    /* Without an exception type, numbers that do not fit are brought to the nearest that does. */
    Py_ssize_t start = PyNumber_AsSsize_t(args[1], NULL);
    if (start == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(args[2], NULL);
    if (limit == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *taken = take_frame(data.buf, data.len, start, limit);
    PyBuffer_Release(&data);
    return taken;
}

/* wsgate.websocket.frames.encode_frame: one unmasked frame with this first byte. */
static PyObject *
encode_frame(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer payload;
    unsigned char header[10];
    Py_ssize_t header_size = 2;
    if (!check_count("encode_frame", nargs, 2)) {
        return NULL;
    }
    Py_ssize_t first = PyNumber_AsSsize_t(args[0], NULL);
    if (first == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (first < 0 || first > 255) {
        PyErr_SetString(PyExc_ValueError, "bytes must be in range(0, 256)");
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &payload, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    header[0] = (unsigned char)first;
    if (payload.len < 126) {
        header[1] = (unsigned char)payload.len;
    }
    else {
        int width = payload.len < 0x10000 ? 2 : 8;
        unsigned long long size = (unsigned long long)payload.len;
        header[1] = width == 2 ? 126 : 127;
        for (int place = 0; place < width; place++) {
            header[2 + place] = (unsigned char)(size >> (8 * (width - 1 - place)));
        }
        header_size += width;
    }
    PyObject *frame = NULL;
    Py_ssize_t total = header_size;
    if (add_size(&total, payload.len)) {
        frame = PyBytes_FromStringAndSize(NULL, total);
    }
    if (frame != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(frame);
        put(put(to, header, header_size), payload.buf, payload.len);
    }
    PyBuffer_Release(&payload);
    return frame;
}

/* -- FastCGI 1.0 --------------------------------------------------------------------------- */

/* A record's header, §3.3: version 1, request id 1, no padding. */
static unsigned char *
put_header(unsigned char *to, int type, Py_ssize_t size)
{
    to[0] = 1;
    to[1] = (unsigned char)type;
    to[2] = 0;
    to[3] = 1;
    to[4] = (unsigned char)(size >> 8);
    to[5] = (unsigned char)size;
    to[6] = 0;
    to[7] = 0;
    return to + HEADER_SIZE;
}

/* The length of a name or value, §3.4; the caller has seen that it is at most MAX_CONTENT. */
static unsigned char *
put_length(unsigned char *to, Py_ssize_t length)
{
    if (length < 128) {
        *to++ = (unsigned char)length;
        return to;
    }
    *to++ = 0x80;
    *to++ = (unsigned char)(length >> 16);
    *to++ = (unsigned char)(length >> 8);
    *to++ = (unsigned char)length;
    return to;
}

/* A number's decimal digits at the end of `digits`; the offset of the first. */
static int
put_digits(char digits[20], unsigned long long number)
{
    int at = 20;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return at;
}

static const char CONTENT_LENGTH[] = "CONTENT_LENGTH";
static const char MESSAGE_ID[] = "WSGATE_MESSAGE_ID";

/* The PARAMS record of one message behind two others. */
static PyObject *
build_params(const Py_buffer *route, const Py_buffer *connection, const Py_buffer *kind,
             const char *id, Py_ssize_t id_size, unsigned long long number, Py_ssize_t size)
{
    char size_digits[20], number_digits[20];
    int size_at = put_digits(size_digits, (unsigned long long)size);
    int number_at = put_digits(number_digits, number);
    Py_ssize_t name_size = sizeof(CONTENT_LENGTH) - 1, id_name_size = sizeof(MESSAGE_ID) - 1;
    Py_ssize_t content, value_size = 1 + 20 - number_at;
    if (!add_size(&value_size, id_size)) {
        return NULL;
    }
    content = 2 + name_size + (20 - size_at) + 1 + (value_size < 128 ? 1 : 4) + id_name_size;
    if (!add_size(&content, value_size) || !add_size(&content, kind->len)) {
        return NULL;
    }
    if (content > MAX_CONTENT) {
        PyErr_Format(PyExc_ValueError, "a record holds at most %d bytes, not %zd", MAX_CONTENT,
                     content);
        return NULL;
    }
    Py_ssize_t total = HEADER_SIZE + content;
    if (!add_size(&total, route->len) || !add_size(&total, connection->len)) {
        return NULL;
    }
    PyObject *params = PyBytes_FromStringAndSize(NULL, total);
    if (params == NULL) {
        return NULL;
    }
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(params);
    to = put(to, route->buf, route->len);
    to = put(to, connection->buf, connection->len);
    to = put_header(to, PARAMS, content);
    to = put(to, kind->buf, kind->len);
    to = put_length(put_length(to, name_size), 20 - size_at);
    to = put(to, CONTENT_LENGTH, name_size);
    to = put(to, size_digits + size_at, 20 - size_at);
    to = put_length(put_length(to, id_name_size), value_size);
    to = put(to, MESSAGE_ID, id_name_size);
    to = put(to, id, id_size);
    *to++ = ':';
    put(to, number_digits + number_at, 20 - number_at);
    return params;
}

/* wsgate.gateway.route.request_params: all PARAMS of one message's request but the last, empty
   record. */
static PyObject *
request_params(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer parts[3];
    int held = 0;
    PyObject *params = NULL;
    if (!check_count("request_params", nargs, 6)) {
        return NULL;
    }
    Py_ssize_t id_size;
    const char *id = PyUnicode_AsUTF8AndSize(args[3], &id_size);
    if (id == NULL) {
        return NULL;
    }
    unsigned long long number = PyLong_AsUnsignedLongLong(args[4]);
    if (number == (unsigned long long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t size = PyLong_AsSsize_t(args[5]);
    if (size < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_OverflowError, "a size is not negative");
        }
        return NULL;
    }
    while (held < 3 && PyObject_GetBuffer(args[held], &parts[held], PyBUF_SIMPLE) == 0) {
        held++;
    }
    if (held == 3) {
        params = build_params(&parts[0], &parts[1], &parts[2], id, id_size, number, size);
    }
    while (held) {
        PyBuffer_Release(&parts[--held]);
    }
    return params;
}

static PyObject *
build_request(const Py_buffer *begin, const Py_buffer *params, const Py_buffer *content)
{
    Py_ssize_t records = content->len / MAX_CONTENT + (content->len % MAX_CONTENT != 0);
    /* The empty records that end the two streams, and a header for each that does not. */
    Py_ssize_t total = HEADER_SIZE * 2 + HEADER_SIZE * records;
    if (!add_size(&total, begin->len) || !add_size(&total, params->len) ||
        !add_size(&total, content->len)) {
        return NULL;
    }
    PyObject *request = PyBytes_FromStringAndSize(NULL, total);
    if (request == NULL) {
        return NULL;
    }
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(request);
    to = put(to, begin->buf, begin->len);
    to = put(to, params->buf, params->len);
    to = put_header(to, PARAMS, 0);
    const unsigned char *from = content->buf;
    Py_ssize_t left = content->len;
    while (left) {
        Py_ssize_t size = left < MAX_CONTENT ? left : MAX_CONTENT;
        to = put_header(to, STDIN, size);
        to = put(to, from, size);
        from += size;
        left -= size;
    }
    put_header(to, STDIN, 0);
    return request;
}

/* wsgate.fastcgi.records.encode_request: BEGIN_REQUEST and PARAMS as given, the end of PARAMS, and
   STDIN with its end. */
static PyObject *
encode_request(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer parts[3];
    int held = 0;
    PyObject *request = NULL;
    if (!check_count("encode_request", nargs, 3)) {
        return NULL;
    }
    while (held < 3 && PyObject_GetBuffer(args[held], &parts[held], PyBUF_SIMPLE) == 0) {
        held++;
    }
    if (held == 3) {
        request = build_request(&parts[0], &parts[1], &parts[2]);
    }
    while (held) {
        PyBuffer_Release(&parts[--held]);
    }
    return request;
}

/* END_REQUEST, §5.5: exit status 0, REQUEST_COMPLETE. */
static const unsigned char COMPLETE[16] = {1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

/* wsgate.fastcgi.records.whole_answer: STDOUT of an answer that is one STDOUT record and a good
   END_REQUEST, or None. */
static PyObject *
whole_answer(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer buffer;
    PyObject *content = NULL;
    if (!check_count("whole_answer", nargs, 2)) {
        return NULL;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(args[1], NULL);
    if (limit == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    const unsigned char *data = buffer.buf;
    Py_ssize_t ends = buffer.len - (Py_ssize_t)sizeof(COMPLETE);
    if (ends >= HEADER_SIZE && data[0] == 1 && data[1] == STDOUT && data[2] == 0 && data[3] == 1) {
        Py_ssize_t size = ((Py_ssize_t)data[4] << 8) | data[5];
        if (HEADER_SIZE + size + data[6] == ends && size <= limit &&
            memcmp(data + ends, COMPLETE, sizeof(COMPLETE)) == 0) {
            content = PyBytes_FromStringAndSize((const char *)data + HEADER_SIZE, size);
            PyBuffer_Release(&buffer);
            return content;
        }
    }
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

/* -- CGI, RFC 3875 §6 ---------------------------------------------------------------------- */

/* wsgate.cgi.find_body: what is behind the first empty line, lines ending with LF or CR LF; 0 if
   there is none. */
static Py_ssize_t
find_body(const char *data, Py_ssize_t length)
{
    const char *from = data, *end = data + length;
    while (from < end) {
        const char *line_feed = memchr(from, '\n', (size_t)(end - from));
        if (line_feed == NULL) {
            return 0;
        }
        const char *next = line_feed + 1;
        if (next < end && *next == '\r') {
            next++;
        }
        if (next < end && *next == '\n') {
            return next + 1 - data;
        }
        from = line_feed + 1;
    }
    return 0;
}

/* wsgate.gateway.answer.known_answer: the body and its kind where the head is one of `heads`. */
static PyObject *
known_answer(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!check_count("known_answer", nargs, 2)) {
        return NULL;
    }
    PyObject *stdout_ = args[0], *heads = args[1];
    if (!PyDict_CheckExact(heads)) {
        PyErr_SetString(PyExc_TypeError, "heads must be a dict");
        return NULL;
    }
    if (!PyBytes_CheckExact(stdout_)) {
        Py_RETURN_NONE;
    }
    const char *data = PyBytes_AS_STRING(stdout_);
    Py_ssize_t length = PyBytes_GET_SIZE(stdout_);
    Py_ssize_t body = find_body(data, length);
    if (!body) {
        Py_RETURN_NONE;
    }
    PyObject *head = PyBytes_FromStringAndSize(data, body);
    if (head == NULL) {
        return NULL;
    }
    PyObject *is_binary = PyDict_GetItemWithError(heads, head);
    Py_DECREF(head);
    if (is_binary == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    Py_INCREF(is_binary);
    if (is_binary != Py_True) {
        int valid = is_utf8((const unsigned char *)data + body, length - body);
        if (valid <= 0) {
            Py_DECREF(is_binary);
            if (valid < 0) {
                return NULL;
            }
            Py_RETURN_NONE;
        }
    }
    PyObject *content = PyBytes_FromStringAndSize(data + body, length - body);
    PyObject *answer = content == NULL ? NULL : PyTuple_New(2);
    if (answer == NULL) {
        Py_XDECREF(content);
        Py_DECREF(is_binary);
        return NULL;
    }
    PyTuple_SET_ITEM(answer, 0, content);
    PyTuple_SET_ITEM(answer, 1, is_binary);
    return answer;
}

/* ------------------------------------------------------------------------------------------ */

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

static PyMethodDef methods[] = {
    FAST(take_message),
    FAST(encode_frame),
    FAST(request_params),
    FAST(encode_request),
    FAST(whole_answer),
    FAST(known_answer),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "wsgate._speedups",
    .m_doc = "The codecs of one message's way, compiled.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&module);
}
