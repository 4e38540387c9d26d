// Reads a .tflite file of far_keras and predicts for one aligned face. See docs/mobile.md.
//
// build.gradle: implementation("com.google.ai.edge.litert:litert:1.+")
// A file among the app's assets must be copied to context.filesDir first: it is read by its path.

package far.keras.sample

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.PointF
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import kotlin.math.max
import kotlin.math.min
import org.json.JSONObject
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

class FaceAttributes(file: File, threads: Int = 2) : AutoCloseable {
    /** Names, groups, thresholds: docs/mobile.md lists the keys. */
    val description: JSONObject = ZipFile(file).use { archive ->
        val entry = archive.getEntry("far_keras.json")
            ?: throw IllegalArgumentException("$file: no model of far_keras: far_keras.json is missing")
        JSONObject(archive.getInputStream(entry).reader().readText())
    }
    val attributes: List<String> =
        description.getJSONArray("attributes").let { names -> List(names.length(), names::getString) }
    private val thresholds = description.getJSONObject("thresholds")
    private val size = description.getInt("image_size")
    private val masks = description.optJSONArray("mask_size")
    private val groups = description.getJSONArray("groups").length()

    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(threads))
    private val isUint8 = interpreter.getInputTensor(0).dataType() == DataType.UINT8

    class Prediction(
        val probabilities: Map<String, Float>,
        val decisions: Map<String, Boolean>,
        /** mask[y][x][group] in 0..1, or null. */
        val masks: Array<Array<FloatArray>>?,
    )

    /** Predicts for a face that `align` made. */
    fun predict(aligned: Bitmap): Prediction {
        val pixels = squash(aligned, size)
        val input = ByteBuffer.allocateDirect(pixels.size * if (isUint8) 1 else 4)
            .order(ByteOrder.nativeOrder())
        for (value in pixels) if (isUint8) input.put(value.toByte()) else input.putFloat(value.toFloat())
        input.rewind()

        val probabilities = arrayOf(FloatArray(attributes.size))
        val outputs = mutableMapOf<String, Any>("attributes" to probabilities)
        var mask: Array<Array<Array<FloatArray>>>? = null
        if (masks != null) {
            mask = Array(1) { Array(masks.getInt(0)) { Array(masks.getInt(1)) { FloatArray(groups) } } }
            outputs["masks"] = mask
        }
        interpreter.runSignature(mapOf("image" to input), outputs, "serving_default")
        val byName = attributes.zip(probabilities[0].toList()).toMap()
        return Prediction(byName, byName.mapValues { it.value >= thresholds.getDouble(it.key) }, mask?.get(0))
    }

    override fun close() = interpreter.close()

    companion object {
        /** Turns, scales and shifts a photograph into the frame; `left` is the eye on its left side. */
        fun align(photograph: Bitmap, left: PointF, right: PointF): Bitmap {
            // (a + ib) = (39 + 0i) / (right - left): rotation and scale as a complex number
            val dx = right.x - left.x
            val dy = right.y - left.y
            val square = dx * dx + dy * dy
            require(square > 1e-6f) { "the eyes are in one place" }
            val a = 39f * dx / square
            val b = -39f * dy / square
            val c = 69.5f - (a * left.x - b * left.y)
            val f = 111f - (b * left.x + a * left.y)
            // The rule counts pixels' centres as whole numbers, Canvas their edges: half a pixel apart.
            val cEdge = c + 0.5f - 0.5f * (a - b)
            val fEdge = f + 0.5f - 0.5f * (b + a)
            val matrix = Matrix().apply { setValues(floatArrayOf(a, -b, cEdge, b, a, fEdge, 0f, 0f, 1f)) }
            // Canvas does not average when it makes an image much smaller: halve it before that.
            val scale = kotlin.math.hypot(a, b)
            if (scale < 0.5f) {
                val half = Bitmap.createScaledBitmap(
                    photograph, max(1, photograph.width / 2), max(1, photograph.height / 2), true)
                val to = { p: PointF -> PointF((p.x + 0.5f) / 2 - 0.5f, (p.y + 0.5f) / 2 - 0.5f) }
                return align(half, to(left), to(right))
            }
            val frame = Bitmap.createBitmap(178, 218, Bitmap.Config.ARGB_8888)
            // Beyond the photograph its border is repeated, as BitmapShader's CLAMP does.
            val paint = Paint(Paint.FILTER_BITMAP_FLAG)
            paint.shader = android.graphics.BitmapShader(
                photograph, android.graphics.Shader.TileMode.CLAMP, android.graphics.Shader.TileMode.CLAMP
            ).apply { setLocalMatrix(matrix) }
            Canvas(frame).drawRect(0f, 0f, 178f, 218f, paint)
            return frame
        }

        /** RGB of size x size: bilinear with antialiasing, first along rows, then along columns. */
        fun squash(image: Bitmap, size: Int): IntArray {
            val packed = IntArray(image.width * image.height)
            image.getPixels(packed, 0, image.width, 0, 0, image.width, image.height)
            val source = IntArray(packed.size * 3) { i ->
                val colour = packed[i / 3]
                when (i % 3) { 0 -> Color.red(colour); 1 -> Color.green(colour); else -> Color.blue(colour) }
            }
            val narrow = resample(source, image.height, image.width, size, 3)
            return transpose(resample(transpose(narrow, image.height, size), size, image.height, size, 3), size, size)
        }

        /** (rows, from, channels) to (rows, to, channels), rounded. */
        private fun resample(source: IntArray, rows: Int, from: Int, to: Int, channels: Int): IntArray {
            val scale = from.toDouble() / to
            val support = max(scale, 1.0) // a triangle of this half width
            val result = IntArray(rows * to * channels)
            for (x in 0 until to) {
                val centre = (x + 0.5) * scale
                val first = max(0, (centre - support + 0.5).toInt())
                val end = min(from, (centre + support + 0.5).toInt())
                val weights = DoubleArray(end - first) { k ->
                    max(0.0, 1 - kotlin.math.abs((first + k + 0.5 - centre) / support))
                }
                val total = weights.sum()
                for (row in 0 until rows) for (channel in 0 until channels) {
                    var sum = 0.0
                    for (k in weights.indices) {
                        sum += weights[k] * source[(row * from + first + k) * channels + channel]
                    }
                    result[(row * to + x) * channels + channel] = (sum / total + 0.5).toInt().coerceIn(0, 255)
                }
            }
            return result
        }

        private fun transpose(source: IntArray, rows: Int, columns: Int): IntArray {
            val result = IntArray(source.size)
            for (y in 0 until rows) for (x in 0 until columns) for (channel in 0 until 3) {
                result[(x * rows + y) * 3 + channel] = source[(y * columns + x) * 3 + channel]
            }
            return result
        }
    }
}
