// Server-sent events by fetch. EventSource hides the status and the text of a refusal.

export interface ServerEvent {
    name: string;
    data: string;
}

/** The parts of a response between separators, until it ends. An unfinished part at the end is dropped. */
export async function* parts(body: ReadableStream<Uint8Array>, separator: string): AsyncGenerator<string> {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = '';
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            const complete = (rest + decoder.decode(value, { stream: true })).split(separator);
            rest = complete.pop() ?? '';
            yield* complete;
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

/** The events of a response, until it ends. A comment is an event without data. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
    for await (const text of parts(body, '\n\n')) yield parse(text);
}

function parse(text: string): ServerEvent {
    let name = 'message';
    const data: string[] = [];
    for (const line of text.split('\n')) {
        if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
    }
    return { name, data: data.join('\n') };
}
