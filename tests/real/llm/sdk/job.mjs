// What scripts with npm's SDKs have in common: as job.py.

export const JOB = JSON.parse(process.argv[2]);
export const QUESTION = "What is the weather in Paris and Zürich? 🌦";
export const RESULT = "18 °C, sunny ☀";
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const DESCRIBED = "The weather in a city.";

export function said(text, calls, stop, usage, thought = "") {
  const told = calls.map(([id, name, given]) => [id, name, typeof given === "string" ? JSON.parse(given) : given]);
  return { text, calls: told, stop, usage, thought };
}

export async function run(things) {
  for (const thing of JOB.do) {
    let found;
    try {
      found = await things[thing.do](thing);
    } catch (error) {
      found = {
        error: error.constructor.name,
        status: error.status ?? error.statusCode ?? 0,
        says: String(error).slice(0, 500),
      };
    }
    process.stdout.write(JSON.stringify(found) + "\n");
  }
}
